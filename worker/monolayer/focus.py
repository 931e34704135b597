"""How blurred a tile is, read off the borders between cells and gaps."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from worker.monolayer.grid import UM_PER_PX

REBLUR_UM: Final = 0.6
"""Standard deviation of the blur that is added: one px."""

BLUR_MAX_UM: Final = 25.0
"""Returned where the added blur flattens no border: there is nothing sharper than a few cells."""


def measure_blur_um(values: NDArray[np.uint8], density: NDArray[np.float32]) -> float:
    """Standard deviation of the blur of a tile's borders.

    By re-blurring (Zhuo and Sim, Defocus map estimation from a single image, Pattern Recognition
    44, 2011): where a known blur s divides the slope of a step edge by R, the edge's own blur is
    s / √(R² - 1). Neither the depth of the stain nor the number of cells enters, so that a slide
    blurred throughout is not its own measure of sharpness. Borders are those of Otsu's threshold.

    Args:
        values: one channel, shape (height, width), at `UM_PER_PX`.
        density: of each value, shape (256,), falling or level.

    Returns:
        Micrometres, at most `BLUR_MAX_UM`, the camera's pixels included; NaN without a border.
    """
    counts = np.bincount(values.ravel(), minlength=256)
    used = density[counts > 0]
    if used[0] == used[-1]:
        return float("nan")
    dark = density > threshold_otsu(hist=(counts[::-1], density[::-1]))
    y, x = _border(np.take(dark, values))
    if y.size == 0:
        return float("nan")
    image = np.take(density, values)
    reblurred = gaussian_filter(image, REBLUR_UM / UM_PER_PX, truncate=3)
    ratio = _slope(image, y, x) / max(_slope(reblurred, y, x), 1e-9)
    least = np.hypot(1, REBLUR_UM / BLUR_MAX_UM)
    return BLUR_MAX_UM if ratio <= least else float(REBLUR_UM / np.sqrt(ratio**2 - 1))


def _border(dark: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the dark px, off the tile's rim, that touch a light one."""
    inner = dark[1:-1, 1:-1]
    enclosed = dark[1:-1, 2:] & dark[1:-1, :-2] & dark[2:, 1:-1] & dark[:-2, 1:-1]
    y, x = np.nonzero(inner & ~enclosed)
    return y + 1, x + 1


def _slope(image: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp]) -> float:
    """Median gradient at some px, over two px."""
    dx = image[y, x + 1] - image[y, x - 1]
    dy = image[y + 1, x] - image[y - 1, x]
    return float(np.median(np.hypot(dx, dy)))
