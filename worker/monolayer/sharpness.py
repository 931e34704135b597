"""How wide the borders between cells and gaps are: the measure of focus."""

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu


def measure_edge_um(
    values: NDArray[np.uint8], density: NDArray[np.float32], um_per_px: float
) -> float:
    """Width of the borders between the darker and the lighter part of a tile.

    Both parts are told apart by Otsu's threshold of the density. The width is the difference of
    their medians over the median slope across the border: paler or fewer cells do not widen it,
    defocus does.

    Args:
        values: one channel, shape (height, width).
        density: of each value, shape (256,), falling or level.
        um_per_px: of the tile.

    Returns:
        Micrometres; NaN without a border.
    """
    counts = np.bincount(values.ravel(), minlength=256)
    used = density[counts > 0]
    if used[0] == used[-1]:
        return float("nan")
    threshold = threshold_otsu(hist=(counts[::-1], density[::-1]))
    dark = int(np.count_nonzero(density > threshold))
    height = float(density[_median(counts[:dark])] - density[dark + _median(counts[dark:])])
    slope = _border_slope(values, density, values < dark)
    return height * um_per_px / slope if slope > 0 else float("nan")


def _median(counts: NDArray[np.intp]) -> int:
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, cumulative[-1] / 2))


def _border_slope(
    values: NDArray[np.uint8], density: NDArray[np.float32], dark: NDArray[np.bool_]
) -> float:
    """Median gradient, density per px, of the dark px that touch the lighter part."""
    inner = dark[1:-1, 1:-1]
    enclosed = dark[1:-1, 2:] & dark[1:-1, :-2] & dark[2:, 1:-1] & dark[:-2, 1:-1]
    border = np.flatnonzero(inner & ~enclosed)
    if border.size == 0:
        return 0.0
    y, x = np.divmod(border, inner.shape[1])
    y, x = y + 1, x + 1
    dx = density[values[y, x + 1]] - density[values[y, x - 1]]
    dy = density[values[y + 1, x]] - density[values[y - 1, x]]
    return float(np.median(np.hypot(dx, dy))) / 2
