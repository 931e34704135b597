"""Cells against gaps within one tile: where the border runs and how steep it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """The darker and the lighter part of a tile, whatever its brightness.

    Attributes:
        cells: shape of the tile; True in the darker part.
        height: median density of the darker part less that of the lighter one.
        edge_um: width of the border between both, micrometres: `height` over the median slope
            across the border. NaN without a border.
    """

    cells: NDArray[np.bool_]
    height: float
    edge_um: float


def find_contrast(
    values: NDArray[np.uint8], density: NDArray[np.float32], um_per_px: float
) -> Contrast:
    """Split a tile by Otsu's threshold of its density and measure the border.

    The width is relative to the tile's own contrast: paler or fewer cells do not widen it, defocus
    does.

    Args:
        values: one channel, shape (height, width).
        density: of each value, shape (256,), falling or level.
        um_per_px: of the tile.
    """
    counts = np.bincount(values.ravel(), minlength=256)
    used = density[counts > 0]
    if used[0] == used[-1]:
        return Contrast(np.zeros(values.shape, np.bool_), 0.0, float("nan"))
    threshold = threshold_otsu(hist=(counts[::-1], density[::-1]))
    dark = int(np.count_nonzero(density > threshold))
    height = float(density[_median(counts[:dark])] - density[dark + _median(counts[dark:])])
    cells = values < dark
    slope = _border_slope(values, density, cells)
    edge_um = height * um_per_px / slope if slope > 0 else float("nan")
    return Contrast(cells, height, edge_um)


def _median(counts: NDArray[np.intp]) -> int:
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, cumulative[-1] / 2))


def _border_slope(
    values: NDArray[np.uint8], density: NDArray[np.float32], cells: NDArray[np.bool_]
) -> float:
    """Median gradient, density per px, of the cell px that touch the lighter part."""
    inner = cells[1:-1, 1:-1]
    enclosed = cells[1:-1, 2:] & cells[1:-1, :-2] & cells[2:, 1:-1] & cells[:-2, 1:-1]
    border = np.flatnonzero(inner & ~enclosed)
    if border.size == 0:
        return 0.0
    y, x = np.divmod(border, inner.shape[1])
    y, x = y + 1, x + 1
    dx = density[values[y, x + 1]] - density[values[y, x - 1]]
    dy = density[values[y + 1, x]] - density[values[y - 1, x]]
    return float(np.median(np.hypot(dx, dy))) / 2
