"""The part of a slide on which cells are counted."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.slide.geometry import Region, Size


@dataclass(frozen=True, slots=True, eq=False)
class CountableRegion:
    """Which cells of a square grid laid over level 0 are countable.

    Grid cell (row, col) covers [col · step, (col + 1) · step) × [row · step, (row + 1) · step) of
    the level-0 frame, clipped to the slide. Nothing beyond the slide is countable.

    Attributes:
        slide_size: level 0, px.
        step_l0: edge of a grid cell, level-0 px; need not be whole.
        mask: shape (ceil(height / step), ceil(width / step)); True where cells are counted. Kept
            as a read-only copy.

    Raises:
        ValueError: the step is not positive or the mask does not fit the slide.
    """

    slide_size: Size
    step_l0: float
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = grid_shape(self.slide_size, self.step_l0)
        if self.mask.dtype != np.bool_ or self.mask.shape != shape:
            raise ValueError(
                f"a mask of {self.mask.dtype} {self.mask.shape} does not fit a slide of "
                f"{self.slide_size.width} × {self.slide_size.height} px at step {self.step_l0:g}: "
                f"bool {shape} expected"
            )
        mask = self.mask.copy()
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)

    @classmethod
    def whole(cls, slide_size: Size, step_l0: float) -> Self:
        """All of the slide."""
        return cls(slide_size, step_l0, np.ones(grid_shape(slide_size, step_l0), np.bool_))

    def contains(self, x: float, y: float) -> bool:
        """Whether a point of the level-0 frame is countable. Left and upper edges are inside."""
        if not (0 <= x < self.slide_size.width and 0 <= y < self.slide_size.height):
            return False
        rows, cols = self.mask.shape
        row, col = min(int(y / self.step_l0), rows - 1), min(int(x / self.step_l0), cols - 1)
        return bool(self.mask[row, col])

    def intersects(self, region: Region) -> bool:
        """Whether a rectangle of the level-0 frame shares some area with the countable part."""
        x0, y0 = max(region.x, 0.0), max(region.y, 0.0)
        x1 = min(region.right, self.slide_size.width)
        y1 = min(region.bottom, self.slide_size.height)
        if x0 >= x1 or y0 >= y1:
            return False
        rows = slice(floor(y0 / self.step_l0), ceil(y1 / self.step_l0))
        cols = slice(floor(x0 / self.step_l0), ceil(x1 / self.step_l0))
        return bool(self.mask[rows, cols].any())

    def rectangles(self) -> tuple[Region, ...]:
        """Disjoint rectangles, clipped to the slide, that make up the countable part.

        Runs along a row, joined with equal runs of the rows below; ordered by lower edge, then x.
        """
        done: list[Region] = []
        open_runs: dict[tuple[int, int], int] = {}
        for row in range(self.mask.shape[0] + 1):
            runs = set(_runs(self.mask[row])) if row < self.mask.shape[0] else set()
            for start, stop in sorted(open_runs.keys() - runs):
                done.append(self._rectangle(open_runs.pop((start, stop)), row, start, stop))
            for run in runs - open_runs.keys():
                open_runs[run] = row
        return tuple(done)

    def area_mm2(self, um_per_px: float) -> float:
        """Countable area, mm², at `um_per_px` micrometres per level-0 px."""
        rows, cols = self.mask.shape
        heights = np.diff(np.minimum(np.arange(rows + 1) * self.step_l0, self.slide_size.height))
        widths = np.diff(np.minimum(np.arange(cols + 1) * self.step_l0, self.slide_size.width))
        return float(heights @ self.mask @ widths) * um_per_px**2 / 1e6

    def _rectangle(self, top: int, bottom: int, left: int, right: int) -> Region:
        x0, y0 = left * self.step_l0, top * self.step_l0
        x1 = min(right * self.step_l0, self.slide_size.width)
        y1 = min(bottom * self.step_l0, self.slide_size.height)
        return Region(x0, y0, x1 - x0, y1 - y0)


def grid_shape(slide_size: Size, step_l0: float) -> tuple[int, int]:
    """Rows and columns of a grid of step `step_l0` level-0 px that covers a slide.

    Raises:
        ValueError: the step is not positive.
    """
    if step_l0 <= 0:
        raise ValueError(f"a grid step of {step_l0:g} px: it must be positive")
    return ceil(slide_size.height / step_l0), ceil(slide_size.width / step_l0)


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and stop of every stretch of True."""
    edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in list(pairwise(edges))[::2]]
