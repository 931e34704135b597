"""How blurred a cell is, read off the steepest borders in its patch.

At the patch's own scale, finer than the grid on which the monolayer is chosen
(`worker.monolayer.focus`): a tile can be sharp on the whole and a cell in it not.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

PIXEL_UM: Final = 0.29
"""Scale of measuring: four px of a 400 px patch, averaged against noise."""
REBLUR_UM: Final = 0.6
"""Standard deviation of the blur that is added."""
STEEPEST: Final = 0.02
"""Share of the patch that is taken for borders: 200 px at `PIXEL_UM`, one ring of a nucleus."""
MIN_SLOPE: Final = 0.025
"""Optical density, natural log, over two px below which there is no border but noise. Measured on
150 crops blurred by 2 µm: 0.07 and more; on 244 empty patches of the mosaics: 0.015, 0.022 at the
95th percentile, those with a platelet more."""
MAX_BLUR_UM: Final = 5.0
"""Returned where the added blur flattens nothing."""


def measure_cell_blur_um(patch: NDArray[np.uint8], um_per_px: float) -> float:
    """Standard deviation of the blur of a cell and what lies around it.

    By re-blurring, as `worker.monolayer.focus.measure_blur_um`: where a known blur divides the
    slope of a border by R, its own blur is known from R alone. Depth of stain does not enter, so
    a pale cell is not taken for a blurred one; chromatin, granules and rims of red cells all
    count as borders, the steepest first.

    Args:
        patch: RGB, shape (height, width, 3), 0–255, all of it on the slide.
        um_per_px: of the patch.

    Returns:
        Micrometres, at most `MAX_BLUR_UM`, the camera's pixels included; NaN where nothing has a
        border: an empty patch.
    """
    by = max(1, round(PIXEL_UM / um_per_px))
    density = -np.log(_shrink_green(patch, by) + 1)
    if min(density.shape) < 3:
        return float("nan")
    steepness = _steepness(density)
    borders = max(1, int(STEEPEST * steepness.size))
    y, x = np.divmod(np.argpartition(steepness.ravel(), -borders)[-borders:], steepness.shape[1])
    own = np.median(steepness[y, x]) ** 0.5
    if own < MIN_SLOPE:
        return float("nan")
    reblurred = gaussian_filter(density, REBLUR_UM / (by * um_per_px), truncate=3)
    y, x = y + 1, x + 1
    dx, dy = (reblurred[y, x + 1] - reblurred[y, x - 1], reblurred[y + 1, x] - reblurred[y - 1, x])
    ratio = own / max(np.median(dx * dx + dy * dy) ** 0.5, 1e-9)
    least = np.hypot(1, REBLUR_UM / MAX_BLUR_UM)
    return MAX_BLUR_UM if ratio <= least else float(REBLUR_UM / np.sqrt(ratio**2 - 1))


def _shrink_green(patch: NDArray[np.uint8], by: int) -> NDArray[np.float32]:
    """Mean of by × by px of the green channel, remainders dropped; every stain absorbs green."""
    height, width = (side // by * by for side in patch.shape[:2])
    green = patch[:height, :width, 1]
    rows = np.zeros((height // by, width), np.uint16)
    for i in range(by):
        rows += green[i::by]
    cells = np.zeros((height // by, width // by), np.uint32)
    for i in range(by):
        cells += rows[:, i::by]
    return cells.astype(np.float32) / np.float32(by * by)


def _steepness(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square of the gradient over two px, less the rim; shape (height - 2, width - 2)."""
    dx = image[1:-1, 2:] - image[1:-1, :-2]
    dy = image[2:, 1:-1] - image[:-2, 1:-1]
    squares: NDArray[np.float32] = dx * dx + dy * dy
    return squares
