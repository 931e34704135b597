"""In which order to read many regions of a level, so that neighbours share decoded tiles."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, Self

from worker.slide.geometry import Region
from worker.slide.pyramid import TiledLevel
from worker.slide.tile_cache import TileKey

BLOCK_TILES: Final = 8
"""Regions are read in squares of this many tiles, row by row within: their decoded tiles fit the
cache, and few regions lie across two squares."""


@dataclass(frozen=True, slots=True)
class TileRect:
    """Tiles of one level: columns and rows from a first one up to, not including, a last one."""

    level: int
    columns: range
    rows: range

    @classmethod
    def within(
        cls, left: int, top: int, right: int, bottom: int, index: int, level: TiledLevel
    ) -> Self:
        """The tiles that a window of a level, in its px, touches; it may reach beyond the level."""
        return cls(
            index,
            _touched(left, right, level.size.width, level.tile.width),
            _touched(top, bottom, level.size.height, level.tile.height),
        )

    @classmethod
    def around(cls, region: Region, index: int, level: TiledLevel) -> Self:
        """The tiles that reading a region of the level-0 frame touches.

        A tile more may be named: one px of the level is added for interpolation.
        """
        scale = level.downsample
        left, top = math.floor(region.x / scale) - 1, math.floor(region.y / scale) - 1
        right, bottom = math.ceil(region.right / scale) + 1, math.ceil(region.bottom / scale) + 1
        return cls.within(left, top, right, bottom, index, level)

    def __iter__(self) -> Iterator[TileKey]:
        return (TileKey(self.level, column, row) for row in self.rows for column in self.columns)


class ReadPlan:
    """Regions in the order of their tiles, and until when each tile is needed.

    Args:
        regions: of the level-0 frame.
        level: index of the level they are read from.
        grid: its size and tiles.
    """

    def __init__(self, regions: Sequence[Region], level: int, grid: TiledLevel) -> None:
        self.level = level
        self._rects = [TileRect.around(region, level, grid) for region in regions]
        self._uses = Counter(key for rect in self._rects for key in rect)
        self._lock = Lock()

    @property
    def order(self) -> list[int]:
        """Indices of the regions, each once, as they are best read."""

        def place(index: int) -> tuple[int, int, int, int]:
            rect = self._rects[index]
            row, column = rect.rows.start, rect.columns.start
            return row // BLOCK_TILES, column // BLOCK_TILES, row, column

        return sorted(range(len(self._rects)), key=place)

    @property
    def tiles(self) -> int:
        """How many different tiles the regions touch."""
        return len(self._uses)

    def finish(self, index: int) -> list[TileKey]:
        """Note that a region is read; tiles that no other region needs any more."""
        with self._lock:
            self._uses.subtract(self._rects[index])
            done = [key for key in self._rects[index] if self._uses[key] <= 0]
            for key in done:
                del self._uses[key]
        return done


def _touched(start: int, stop: int, length: int, tile: int) -> range:
    first, last = max(0, start), min(length, stop)
    return range(first // tile, -(-last // tile)) if first < last else range(0)
