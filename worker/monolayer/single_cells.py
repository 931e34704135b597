"""Red cells that lie alone: what one layer of cells looks like, read off the slide itself."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

AREA_UM2: Final = (20.0, 70.0)
"""Of a red cell: a disc of 5 to 9.4 µm, from a spherocyte to a macrocyte. Two that touch have
more."""

MAX_ELONGATION: Final = 1.35
"""Longer over shorter side of the bounding box; two that overlap have more."""

MIN_EXTENT: Final = 0.55
"""Area over bounding box: a disc has 0.79, one without its pallor 0.65, a chain less."""

MIN_PURITY: Final = 0.6
"""Share of the gaps that is paler than half the threshold between gaps and cells. Measured on
mosaics laid over each other: real gaps 0.67 and more; below 0.5 where nearly all is two cells thick
and the threshold falls between one and two layers."""

BINS: Final = 64


def find_single_cells(density: NDArray[np.float32], um_per_px: float) -> NDArray[np.bool_]:
    """Pixels of the cells of a sample that touch nothing else and are the size of a red cell.

    Args:
        density: in green light, shape (height, width).
        um_per_px: of the sample.

    Returns:
        Shape (height, width); nothing where the sample has no gaps to tell cells apart by.
    """
    nothing = np.zeros(density.shape, np.bool_)
    counts, edges = np.histogram(density, BINS)
    if np.count_nonzero(counts) < 3:
        return nothing
    centres = (edges[1:] + edges[:-1]) / 2
    threshold = float(threshold_multiotsu(hist=(counts, centres), classes=3)[0])
    cells = density > threshold
    gaps = density[~cells]
    if np.mean(gaps < threshold / 2) < MIN_PURITY:
        return nothing
    labels, _ = ndimage.label(cells)
    areas = np.bincount(labels.ravel())
    single = (areas >= AREA_UM2[0] / um_per_px**2) & (areas <= AREA_UM2[1] / um_per_px**2)
    for label, (rows, cols) in enumerate(ndimage.find_objects(labels), start=1):
        height, width = rows.stop - rows.start, cols.stop - cols.start
        single[label] &= (
            max(height, width) <= MAX_ELONGATION * min(height, width)
            and areas[label] >= MIN_EXTENT * height * width
        )
    single[0] = False
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        single[side] = False
    found: NDArray[np.bool_] = single[labels]
    return found
