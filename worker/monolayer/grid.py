"""The grid of tiles a slide is measured on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from worker.slide.geometry import Region
from worker.slide.protocol import Slide, SlideInfo

UM_PER_PX: Final = 0.58
"""Scale of measuring: a red cell is 13 px wide and a blur of 1 µm doubles the width of its edge; at
1.16 µm/px it widens the edge by a seventh only."""

TILE_PX: Final = 256
"""Edge of a tile: 148 µm, about one field of an immersion lens."""

SQUARES: Final = 8
"""Squares along a tile's edge: the steps, of 19 µm, in which bare glass is cut out of a tile."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of whole tiles."""

    rows: slice
    cols: slice


@dataclass(frozen=True, slots=True, eq=False)
class TileGrid:
    """Tiles over level 0, `TILE_PX` wide at `UM_PER_PX`.

    The last row and column take what is left of the slide, so theirs are half to one and a half
    times as high or wide: no tile is a sliver too narrow to measure.

    Attributes:
        px_l0: a measuring px, level-0 px.
        y_px: upper edges of the rows and the lower edge of the last, measuring px.
        x_px: left edges of the columns and the right edge of the last, measuring px.
    """

    px_l0: float
    y_px: NDArray[np.intp]
    x_px: NDArray[np.intp]

    @classmethod
    def over(cls, info: SlideInfo) -> Self:
        """The grid of a slide."""
        px_l0 = UM_PER_PX / info.um_per_px
        return cls(px_l0, _edges(info.size.height / px_l0), _edges(info.size.width / px_l0))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.y_px) - 1, len(self.x_px) - 1

    @property
    def tile_l0(self) -> float:
        """Edge of a tile, level-0 px, but for the last row and column."""
        return TILE_PX * self.px_l0

    def blocks_around(self, wanted: NDArray[np.bool_], edge: int) -> Iterator[Block]:
        """Disjoint blocks of at most `edge` × `edge` tiles that hold all wanted ones, tightly.

        Args:
            wanted: of `shape`.
            edge: tiles.
        """
        rows, cols = self.shape
        for top in range(0, rows, edge):
            for left in range(0, cols, edge):
                places = np.argwhere(wanted[top : top + edge, left : left + edge])
                if len(places):
                    (y0, x0), (y1, x1) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
                    yield Block(slice(top + y0, top + y1 + 1), slice(left + x0, left + x1 + 1))

    def region(self, block: Block) -> Region:
        """Where a block lies, level-0 frame; a whole number of measuring px."""
        y0, y1 = int(self.y_px[block.rows.start]), int(self.y_px[block.rows.stop])
        x0, x1 = int(self.x_px[block.cols.start]), int(self.x_px[block.cols.stop])
        scale = self.px_l0
        return Region(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale)

    def cut(self, pixels: NDArray[np.uint8], block: Block, row: int, col: int) -> NDArray[np.uint8]:
        """One tile out of the pixels of a block."""
        y0, x0 = self.y_px[block.rows.start], self.x_px[block.cols.start]
        return pixels[
            self.y_px[row] - y0 : self.y_px[row + 1] - y0,
            self.x_px[col] - x0 : self.x_px[col + 1] - x0,
        ]

    def read_tile(self, slide: Slide, row: int, col: int) -> NDArray[np.uint8]:
        """One tile's pixels: RGB, shape (height, width, 3), at `UM_PER_PX`.

        Raises:
            RegionUnreadable: these pixels cannot be decoded.
        """
        block = Block(slice(row, row + 1), slice(col, col + 1))
        return slide.read(self.region(block), UM_PER_PX)


def _edges(length_px: float) -> NDArray[np.intp]:
    """Tile edges along an axis of `length_px` measuring px, a part of a px at the end left out."""
    tiles = max(1, round(length_px / TILE_PX))
    edges = np.arange(tiles + 1) * TILE_PX
    edges[-1] = max(1, int(length_px + 1e-6))
    return edges
