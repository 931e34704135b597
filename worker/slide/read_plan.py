"""In which order to read many regions of a level, so that neighbours share decoded tiles."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Final

from worker.slide.tile_cache import TileKey
from worker.slide.window import Needs

BLOCK_TILES: Final = 8
"""Regions are read in squares of this many tiles, row by row within: their decoded tiles fit the
cache, and few regions lie across two squares."""


class ReadPlan:
    """Regions in the order of their tiles; how much of each tile is needed, and until when.

    Args:
        needs: of each region its tiles, none if it lies beyond the level, the top left one first.
    """

    def __init__(self, needs: Sequence[Needs]) -> None:
        self._needs = needs
        self._uses = Counter(key for tiles in needs for key in tiles)
        self._px_rows: dict[TileKey, int] = {}
        for tiles in needs:
            for key, px in tiles.items():
                if px > self._px_rows.get(key, 0):
                    self._px_rows[key] = px
        self._lock = Lock()

    def runs(self, longest: int) -> Iterator[list[int]]:
        """Indices of the regions, each once, as they are best read.

        Yields:
            `longest` regions at a time, neighbours where there are any; the last may be fewer.
        """

        def place(index: int) -> tuple[int, int, int, int]:
            _, column, row = next(iter(self._needs[index]), (0, 0, 0))
            return row // BLOCK_TILES, column // BLOCK_TILES, row, column

        order = sorted(range(len(self._needs)), key=place)
        for start in range(0, len(order), longest):
            yield order[start : start + longest]

    def px_rows(self, key: TileKey) -> int:
        """How many px rows of a tile, from its top, any of the regions needs; 0 if none does."""
        return self._px_rows.get(key, 0)

    def finish(self, indices: Iterable[int]) -> list[TileKey]:
        """Note that regions are read; tiles that no other region needs any more."""
        done = []
        with self._lock:
            for index in indices:
                for key in self._needs[index]:
                    self._uses[key] -= 1
                    if not self._uses[key]:
                        done.append(key)
        return done
