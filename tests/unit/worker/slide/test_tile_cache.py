from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.tile_cache import TileCache, TileKey

KEYS = [TileKey(0, column, 0) for column in range(6)]


def tile(key: TileKey) -> NDArray[np.uint8]:
    return np.full(100, key.column, np.uint8)


def never(key: TileKey) -> NDArray[np.uint8]:
    raise AssertionError(f"{key} was loaded")


def test_a_tile_is_loaded_once() -> None:
    cache = TileCache(1000)
    first = cache.fetch(KEYS, tile)
    again = cache.fetch(reversed(KEYS), never)
    assert all(again[key] is first[key] for key in KEYS)


def test_the_bound_holds_and_the_oldest_go_first() -> None:
    cache = TileCache(300)
    cache.fetch(KEYS[:3], tile)
    cache.fetch([KEYS[0]], never)
    cache.fetch([KEYS[3]], tile)
    cache.fetch([KEYS[0], KEYS[2], KEYS[3]], never)
    with pytest.raises(AssertionError, match="column=1"):
        cache.fetch([KEYS[1]], never)


def test_a_tile_larger_than_the_bound_is_returned_and_not_kept() -> None:
    cache = TileCache(50)
    assert len(cache.fetch(KEYS[:1], tile)[KEYS[0]]) == 100
    with pytest.raises(AssertionError):
        cache.fetch(KEYS[:1], never)


def test_discarded_tiles_make_room() -> None:
    cache = TileCache(300)
    cache.fetch(KEYS[:3], tile)
    cache.discard([KEYS[0], KEYS[5]])
    cache.fetch([KEYS[3]], tile)
    cache.fetch(KEYS[1:4], never)


def test_threads_that_want_one_tile_load_it_once() -> None:
    cache, loads, together = TileCache(1000), Counter[TileKey](), Barrier(4)

    def load(key: TileKey) -> NDArray[np.uint8]:
        loads[key] += 1
        return tile(key)

    def fetch(_: int) -> list[int]:
        together.wait()
        return [int(found[0]) for found in cache.fetch(KEYS, load).values()]

    with ThreadPoolExecutor(4) as pool:
        assert all(sorted(found) == list(range(6)) for found in pool.map(fetch, range(4)))
    assert loads == Counter(KEYS)


def test_who_waits_for_a_broken_tile_hears_of_it_and_the_next_may_try_again() -> None:
    cache, begun, broken = TileCache(1000), Event(), Event()

    def fail(key: TileKey) -> NDArray[np.uint8]:
        begun.set()
        broken.wait(10)
        raise RegionUnreadable("broken on purpose")

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(cache.fetch, KEYS[:1], fail)
        assert begun.wait(10)
        waiting = pool.submit(cache.fetch, KEYS[:1], never)
        broken.set()
        for future in (loading, waiting):
            with pytest.raises((RegionUnreadable, AssertionError)):
                future.result(10)
    assert int(cache.fetch(KEYS[:1], tile)[KEYS[0]][0]) == 0
