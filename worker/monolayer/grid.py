"""The grid of tiles a slide is measured on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.region import grid_shape
from worker.slide.geometry import Region, Size
from worker.slide.protocol import Slide, SlideInfo

UM_PER_PX: Final = 0.58
"""Scale of measuring: a red cell is 13 px, and a blur of 1 µm still shows. At twice this a blur of
1 µm widens edges by a tenth only (measured on the mosaics)."""

TILE_PX: Final = 256
"""Edge of a tile: 148 µm, one field of an immersion lens."""

SQUARES: Final = 8
"""Squares along a tile's edge: the steps, of 19 µm, in which bare glass is cut out of a tile."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of whole tiles."""

    rows: slice
    cols: slice


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles over level 0; the last row and column reach beyond the slide.

    Attributes:
        slide_size: level 0, px.
        step_l0: edge of a tile, level-0 px.
        um_per_px: at which tiles are measured.
        tile_px: edge of a tile at that scale.
    """

    slide_size: Size
    step_l0: float
    um_per_px: float = UM_PER_PX
    tile_px: int = TILE_PX

    @classmethod
    def over(cls, info: SlideInfo) -> "TileGrid":
        """The grid of a slide."""
        return cls(info.size, TILE_PX * UM_PER_PX / info.um_per_px)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return grid_shape(self.slide_size, self.step_l0)

    def blocks(self, edge: int) -> Iterator[Block]:
        """Blocks of at most `edge` × `edge` tiles, row by row; together all tiles."""
        rows, cols = self.shape
        for top in range(0, rows, edge):
            for left in range(0, cols, edge):
                yield Block(slice(top, min(top + edge, rows)), slice(left, min(left + edge, cols)))

    def region(self, block: Block) -> Region:
        """A block in the level-0 frame, not clipped, so that corners stay on the lattice."""
        rows, cols, step = block.rows, block.cols, self.step_l0
        return Region(
            cols.start * step,
            rows.start * step,
            (cols.stop - cols.start) * step,
            (rows.stop - rows.start) * step,
        )

    def read_tile(self, slide: Slide, row: int, col: int) -> NDArray[np.uint8]:
        """One tile, clipped to the slide: RGB, shape (≤ tile_px, ≤ tile_px, 3).

        Raises:
            RegionUnreadable: these pixels cannot be decoded.
        """
        block = Block(slice(row, row + 1), slice(col, col + 1))
        return self.cut_tile(slide.read(self.region(block), self.um_per_px), block, row, col)

    def cut_tile(
        self, pixels: NDArray[np.uint8], block: Block, row: int, col: int
    ) -> NDArray[np.uint8]:
        """One tile out of the pixels of a block, clipped to the slide."""
        y, x = (row - block.rows.start) * self.tile_px, (col - block.cols.start) * self.tile_px
        height = self._px_left(self.slide_size.height, row)
        width = self._px_left(self.slide_size.width, col)
        return pixels[y : y + height, x : x + width]

    def _px_left(self, length_l0: int, index: int) -> int:
        left = (length_l0 / self.step_l0 - index) * self.tile_px
        return max(1, min(self.tile_px, int(left)))
