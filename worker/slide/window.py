"""Windows of a level: which tiles they lie on, and how px come from these.

Several are filled at once, a tile going to all of them while it is warm: cells that lie close share
most of their px, and fetching these from memory again costs as much as decoding them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.pyramid import TiledLevel
from worker.slide.resampling import find_copy
from worker.slide.tile_cache import Pixels, TileCache, TileKey

Needs = Mapping[TileKey, int]
"""Tiles, and of each how many px rows from its top."""


class Window(NamedTuple):
    """A part of a level, in its px; may reach beyond it."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def copied(cls, region: Region, step: float, out: Size, grid: TiledLevel) -> Self | None:
        """The px that a region of the level-0 frame is made of, one by one; None if it is not.

        Args:
            region: level-0 frame.
            step: level px per px of the result.
            out: px of the result.
            grid: the level.
        """
        left = find_copy(region.x / grid.downsample, step, out.width)
        top = find_copy(region.y / grid.downsample, step, out.height)
        return None if left is None or top is None else cls(left, top, out.width, out.height)

    @classmethod
    def around(cls, region: Region, grid: TiledLevel) -> Self:
        """What resampling a region of the level-0 frame takes, and a px more on every side."""
        scale = grid.downsample
        left, top = math.floor(region.x / scale) - 1, math.floor(region.y / scale) - 1
        right, bottom = math.ceil(region.right / scale) + 1, math.ceil(region.bottom / scale) + 1
        return cls(left, top, right - left, bottom - top)

    def needs(self, level: int, grid: TiledLevel, bottom: int | None = None) -> dict[TileKey, int]:
        """The tiles it lies on, row by row, needed down to its end or to a lower `bottom`."""
        right, end, tile = self.left + self.width, self.top + self.height, grid.tile
        columns = _touched(self.left, right, grid.size.width, tile.width)
        rows = _touched(self.top, end, grid.size.height, tile.height)
        stop = min(end if bottom is None else bottom, grid.size.height)
        return {
            TileKey(level, column, row): min(tile.height, stop - row * tile.height)
            for row in rows
            for column in columns
        }

    def whiten_beyond(self, out: Pixels, grid: TiledLevel) -> None:
        """Make all of it white if some of it lies beyond the level."""
        right, bottom = self.left + self.width, self.top + self.height
        if min(self.left, self.top) < 0 or right > grid.size.width or bottom > grid.size.height:
            out.fill(255)

    def take(self, out: Pixels, key: TileKey, tile: Pixels, grid: TiledLevel) -> None:
        """Copy what a tile has of it."""
        left, top = self.left - key.column * grid.tile.width, self.top - key.row * grid.tile.height
        x0, x1 = max(left, 0), min(left + self.width, tile.shape[1])
        y0, y1 = max(top, 0), min(top + self.height, tile.shape[0])
        out[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0:y1, x0:x1]


def fill_windows(
    windows: Sequence[tuple[Window, Needs, Pixels]],
    tiles: TileCache,
    load: Callable[[TileKey, int], Pixels],
    grid: TiledLevel,
) -> list[RegionUnreadable | None]:
    """Copy windows of one level from its tiles.

    Args:
        windows: each with its tiles and the array it goes to; near one another, to share tiles.
        tiles: where tiles are kept.
        load: gives rows of a tile that are not there; see `TileCache.fetch`.
        grid: size and tiles of the level.

    Returns:
        Of each window in turn, why it could not be filled; None if it was.
    """
    needs: dict[TileKey, int] = {}
    wanted: dict[TileKey, list[int]] = {}
    for index, (window, its_tiles, out) in enumerate(windows):
        window.whiten_beyond(out, grid)
        for key, rows in its_tiles.items():
            if key in wanted:
                wanted[key].append(index)
                needs[key] = max(rows, needs[key])
            else:
                wanted[key], needs[key] = [index], rows
    failed: list[RegionUnreadable | None] = [None] * len(windows)
    for key, tile in tiles.fetch(needs, load):
        for index in wanted[key]:
            if isinstance(tile, RegionUnreadable):
                failed[index] = tile
            else:
                window, _, out = windows[index]
                window.take(out, key, tile, grid)
    return failed


def _touched(start: int, stop: int, length: int, tile: int) -> range:
    first, last = max(0, start), min(length, stop)
    return range(first // tile, -(-last // tile)) if first < last else range(0)
