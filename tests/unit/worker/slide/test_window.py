"""Windows filled together from tiles they share."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.pyramid import TiledLevel
from worker.slide.tile_cache import TileCache, TileKey
from worker.slide.window import Needs, Window, fill_windows

GRID = TiledLevel(Size(500, 300), 2.0, Size(128, 64))
PICTURE = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)


def cut(key: TileKey, rows: int) -> NDArray[np.uint8]:
    x, y = key.column * 128, key.row * 64
    return PICTURE[y : y + min(64, rows), x : x + 128]


def prepare(*windows: Window) -> list[tuple[Window, Needs, NDArray[np.uint8]]]:
    return [
        (window, window.needs(0, GRID), np.zeros((window.height, window.width, 3), np.uint8))
        for window in windows
    ]


def test_windows_hold_the_px_of_their_place_and_share_tiles() -> None:
    loads = Counter[TileKey]()

    def load(key: TileKey, rows: int) -> NDArray[np.uint8]:
        loads[key] += 1
        return cut(key, rows)

    tasks = prepare(Window(5, 7, 200, 90), Window(100, 3, 130, 200), Window(127, 63, 2, 2))
    assert fill_windows(tasks, TileCache(1 << 24), load, GRID) == [None] * 3
    for window, _, out in tasks:
        left, top, width, height = window
        assert (out == PICTURE[top : top + height, left : left + width]).all()
    assert set(loads.values()) == {1}


def test_beyond_the_level_is_white() -> None:
    tasks = prepare(Window(-30, -20, 100, 100), Window(450, 250, 100, 100), Window(600, 0, 9, 9))
    assert fill_windows(tasks, TileCache(1 << 24), cut, GRID) == [None] * 3
    upper, lower, outside = (out for _, _, out in tasks)
    assert (upper[:20] == 255).all()
    assert (upper[:, :30] == 255).all()
    assert (upper[20:, 30:] == PICTURE[:80, :70]).all()
    assert (lower[:50, :50] == PICTURE[250:, 450:]).all()
    assert (lower[50:] == 255).all()
    assert (outside == 255).all()


def test_a_broken_tile_fails_the_windows_that_lie_on_it_and_no_other() -> None:
    def load(key: TileKey, rows: int) -> NDArray[np.uint8]:
        if key == TileKey(0, 1, 0):
            raise RegionUnreadable("broken on purpose")
        return cut(key, rows)

    tasks = prepare(Window(0, 0, 128, 64), Window(100, 10, 60, 20), Window(300, 0, 100, 100))
    first, second, third = fill_windows(tasks, TileCache(1 << 24), load, GRID)
    assert (first, third) == (None, None)
    assert isinstance(second, RegionUnreadable)
    assert (tasks[2][2] == PICTURE[:100, 300:400]).all()


def test_a_region_is_copied_only_where_its_px_are_the_levels() -> None:
    region = Region(20.0, 8.0, 60.0, 40.0)
    assert Window.copied(region, 1.0, Size(30, 20), GRID) == Window(10, 4, 30, 20)
    assert Window.copied(Region(21.0, 8.0, 60.0, 40.0), 1.0, Size(30, 20), GRID) is None
    assert Window.copied(region, 0.5, Size(60, 40), GRID) is None


def test_no_more_rows_are_needed_than_the_window_or_who_asks_goes_down() -> None:
    window = Window(130, 60, 20, 10)
    assert window.needs(3, GRID) == {TileKey(3, 1, 0): 64, TileKey(3, 1, 1): 6}
    assert window.needs(3, GRID, 100) == {TileKey(3, 1, 0): 64, TileKey(3, 1, 1): 36}
    assert Window(130, 290, 20, 90).needs(0, GRID) == {TileKey(0, 1, 4): 44}
