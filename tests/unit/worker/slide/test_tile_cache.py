from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.tile_cache import TileCache, TileKey

KEYS = [TileKey(0, column, 0) for column in range(6)]


def whole(keys: Iterable[TileKey]) -> dict[TileKey, int]:
    return dict.fromkeys(keys, 100)


def tile(key: TileKey, rows: int = 100) -> NDArray[np.uint8]:
    return np.full(100, key.column, np.uint8)


def never(key: TileKey, rows: int) -> NDArray[np.uint8]:
    raise AssertionError(f"{key} was loaded")


def fetch(
    cache: TileCache,
    needs: dict[TileKey, int],
    load: Callable[[TileKey, int], NDArray[np.uint8]] = never,
) -> dict[TileKey, NDArray[np.uint8]]:
    found: dict[TileKey, NDArray[np.uint8]] = {}
    for key, pixels in cache.fetch(needs, load):
        assert key not in found
        assert not isinstance(pixels, RegionUnreadable)
        found[key] = pixels
    return found


def test_a_tile_is_loaded_once() -> None:
    cache = TileCache(1000)
    first = fetch(cache, whole(KEYS), tile)
    again = fetch(cache, whole(reversed(KEYS)))
    assert all(again[key] is first[key] for key in KEYS)


def test_the_bound_holds_and_the_oldest_go_first() -> None:
    cache = TileCache(300)
    fetch(cache, whole(KEYS[:3]), tile)
    fetch(cache, whole([KEYS[0]]))
    fetch(cache, whole([KEYS[3]]), tile)
    fetch(cache, whole([KEYS[0], KEYS[2], KEYS[3]]))
    with pytest.raises(AssertionError, match="column=1"):
        fetch(cache, whole([KEYS[1]]))


def test_a_tile_larger_than_the_bound_is_returned_and_not_kept() -> None:
    cache = TileCache(50)
    assert len(fetch(cache, whole(KEYS[:1]), tile)[KEYS[0]]) == 100
    with pytest.raises(AssertionError):
        fetch(cache, whole(KEYS[:1]))


def upper(key: TileKey, rows: int) -> NDArray[np.uint8]:
    return tile(key)[:rows]


def test_upper_rows_are_not_served_to_who_needs_more() -> None:
    cache = TileCache(1000)
    assert len(fetch(cache, {KEYS[0]: 40}, upper)[KEYS[0]]) == 40
    fetch(cache, {KEYS[0]: 40})
    assert len(fetch(cache, {KEYS[0]: 41}, upper)[KEYS[0]]) == 41
    fetch(cache, {KEYS[0]: 12})


def test_a_tile_that_was_loaded_anew_counts_once() -> None:
    cache = TileCache(200)
    for rows in (40, 60, 100):
        fetch(cache, {KEYS[0]: rows}, upper)
    fetch(cache, whole(KEYS[1:2]), tile)
    fetch(cache, whole(KEYS[:2]))


def test_who_waits_for_more_rows_than_are_being_loaded_gets_them() -> None:
    cache, begun, go_on = TileCache(1000), Event(), Event()

    def slow(key: TileKey, rows: int) -> NDArray[np.uint8]:
        begun.set()
        go_on.wait(10)
        return upper(key, rows)

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(fetch, cache, {KEYS[0]: 30}, slow)
        assert begun.wait(10)
        waiting = pool.submit(fetch, cache, {KEYS[0]: 70}, upper)
        go_on.set()
        assert len(loading.result(10)[KEYS[0]]) == 30
        assert len(waiting.result(10)[KEYS[0]]) == 70


def test_fewer_rows_than_asked_for_are_an_error() -> None:
    with pytest.raises(AssertionError, match="50 rows"):
        fetch(TileCache(1000), {KEYS[0]: 50}, lambda key, rows: upper(key, rows - 1))


def test_discarded_tiles_make_room() -> None:
    cache = TileCache(300)
    fetch(cache, whole(KEYS[:3]), tile)
    cache.discard([KEYS[0], KEYS[5]])
    fetch(cache, whole([KEYS[3]]), tile)
    fetch(cache, whole(KEYS[1:4]))


def test_threads_that_want_one_tile_load_it_once() -> None:
    cache, loads, together = TileCache(1000), Counter[TileKey](), Barrier(4)

    def load(key: TileKey, rows: int) -> NDArray[np.uint8]:
        loads[key] += 1
        return tile(key)

    def fetch_all(_: int) -> list[int]:
        together.wait()
        return [int(found[0]) for found in fetch(cache, whole(KEYS), load).values()]

    with ThreadPoolExecutor(4) as pool:
        assert all(sorted(found) == list(range(6)) for found in pool.map(fetch_all, range(4)))
    assert loads == Counter(KEYS)


def test_who_waits_for_a_broken_tile_hears_of_it_and_the_next_may_try_again() -> None:
    cache, begun, broken = TileCache(1000), Event(), Event()

    def fail(key: TileKey, rows: int) -> NDArray[np.uint8]:
        begun.set()
        broken.wait(10)
        raise RegionUnreadable("broken on purpose")

    def see(load: Callable[[TileKey, int], NDArray[np.uint8]]) -> object:
        ((_, found),) = cache.fetch(whole(KEYS[:1]), load)
        return found

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(see, fail)
        assert begun.wait(10)
        waiting = pool.submit(see, fail)
        broken.set()
        assert isinstance(loading.result(10), RegionUnreadable)
        assert isinstance(waiting.result(10), RegionUnreadable)
    assert int(fetch(cache, whole(KEYS[:1]), tile)[KEYS[0]][0]) == 0


def test_a_broken_tile_does_not_keep_the_others_back() -> None:
    cache = TileCache(1000)

    def load(key: TileKey, rows: int) -> NDArray[np.uint8]:
        if key == KEYS[1]:
            raise RegionUnreadable("broken on purpose")
        return tile(key)

    found = dict(cache.fetch(whole(KEYS), load))
    assert [key for key in KEYS if isinstance(found[key], RegionUnreadable)] == [KEYS[1]]
    fetch(cache, whole([KEYS[0], *KEYS[2:]]))
