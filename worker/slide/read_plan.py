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
    """Tiles of one level: columns and rows from a first one up to, not including, a last one.

    Attributes:
        tile_px: height of a tile.
        bottom: px row of the level up to which, not including, pixels are needed.
    """

    level: int
    columns: range
    rows: range
    tile_px: int
    bottom: int

    @classmethod
    def within(
        cls, left: int, top: int, right: int, bottom: int, index: int, level: TiledLevel
    ) -> Self:
        """The tiles that a window of a level, in its px, touches; it may reach beyond the level."""
        return cls(
            index,
            _touched(left, right, level.size.width, level.tile.width),
            _touched(top, bottom, level.size.height, level.tile.height),
            level.tile.height,
            min(bottom, level.size.height),
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

    def needs(self, bottom: int | None = None) -> dict[TileKey, int]:
        """Of each tile, how many px rows from its top are needed; to a lower `bottom` if given."""
        stop = self.bottom if bottom is None else bottom
        return {key: min(self.tile_px, stop - key.row * self.tile_px) for key in self}


class ReadPlan:
    """Regions in the order of their tiles; how much of each tile is needed, and until when.

    Args:
        regions: of the level-0 frame.
        level: index of the level they are read from.
        grid: its size and tiles.
    """

    def __init__(self, regions: Sequence[Region], level: int, grid: TiledLevel) -> None:
        self.level = level
        self._rects = [TileRect.around(region, level, grid) for region in regions]
        self._needs = [rect.needs() for rect in self._rects]
        self._uses = Counter(key for needs in self._needs for key in needs)
        self._px_rows: dict[TileKey, int] = {}
        for needs in self._needs:
            for key, px in needs.items():
                if px > self._px_rows.get(key, 0):
                    self._px_rows[key] = px
        self._lock = Lock()

    def runs(self, longest: int) -> Iterator[list[int]]:
        """Indices of the regions, each once, as they are best read.

        Yields:
            `longest` regions at a time, neighbours where there are any; the last may be fewer.
        """

        def place(index: int) -> tuple[int, int, int, int]:
            rect = self._rects[index]
            row, column = rect.rows.start, rect.columns.start
            return row // BLOCK_TILES, column // BLOCK_TILES, row, column

        order = sorted(range(len(self._rects)), key=place)
        for start in range(0, len(order), longest):
            yield order[start : start + longest]

    def px_rows(self, key: TileKey) -> int:
        """How many px rows of a tile, from its top, any of the regions needs; 0 if none does."""
        return self._px_rows.get(key, 0)

    def finish(self, index: int) -> list[TileKey]:
        """Note that a region is read; tiles that no other region needs any more."""
        done = []
        with self._lock:
            for key in self._needs[index]:
                self._uses[key] -= 1
                if not self._uses[key]:
                    done.append(key)
        return done


def _touched(start: int, stop: int, length: int, tile: int) -> range:
    first, last = max(0, start), min(length, stop)
    return range(first // tile, -(-last // tile)) if first < last else range(0)
