"""What one red cell looks like on this slide: the unit of every measure.

Colours differ between laboratories by more than a single layer of cells differs from a double one,
so nothing here is a fixed colour: density is relative to the slide's own glass (Beer-Lambert law),
and one layer is the slide's own red cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.background import estimate_background
from models.density import density_table
from models.red_cell import estimate_red_cell, limit_shares
from worker.monolayer.focus import measure_blur_um
from worker.monolayer.grid import UM_PER_PX
from worker.monolayer.single_cells import find_single_cells

SHARP_UM: Final = 0.8
"""Blur up to which a sample is used, if such samples suffice: blur dilutes cells."""

MIN_DENSITY: Final = 0.08
"""Paler things are no cells. The palest red cells of the Chula fields have 0.11."""

MIN_PIXELS: Final = 1000
"""Of single cells, about ten of them, from which they are believed."""

PRIOR_DENSITY: Final = 0.4
"""Of a red cell, where no sample shows any; the fields seen have 0.11 to 0.65."""


@dataclass(frozen=True, slots=True)
class Stain:
    """Glass and red cells of one slide.

    Attributes:
        background: RGB of the glass, shape (3,), 0–255.
        density: of one red cell in green light, where haemoglobin and eosin absorb; natural log.
        tint: density in red less that in blue light, over that in green, of a red cell. Nuclei
            have far more: the azure dyes absorb red and pass blue, haemoglobin the reverse.
        red_cell: density in red, green and blue light, shape (3,), the detector's unit: of the
            cells that lie alone, or where none does what most of the stained area suggests.
    """

    background: NDArray[np.float32]
    density: float
    tint: float
    red_cell: NDArray[np.float32]


def estimate_stain(samples: Sequence[NDArray[np.uint8]]) -> Stain:
    """Read glass and red cells off samples of the smear, thin and thick.

    Args:
        samples: RGB, each (height, width, 3), 0–255, at `UM_PER_PX`; at least one.
    """
    background = estimate_background(np.concatenate([rgb.reshape(-1, 3) for rgb in samples]))
    table = density_table(background)
    sharp: list[NDArray[np.uint8]] = []
    blurred: list[NDArray[np.uint8]] = []
    for rgb in samples:
        green = np.take(table[1], rgb[..., 1])
        single = find_single_cells(green, UM_PER_PX) & (green > MIN_DENSITY)
        blur_um = measure_blur_um(rgb[..., 1], table[1])
        (sharp if blur_um <= SHARP_UM else blurred).append(rgb[single])
    for kept in (sharp, sharp + blurred):
        if sum(map(len, kept)) >= MIN_PIXELS:
            pixels = np.concatenate(kept)
            red, density, blue = (
                float(np.median(np.take(table[i], pixels[:, i]))) for i in range(3)
            )
            colour = limit_shares(np.array([red, density, blue]))
            return Stain(background, density, (red - blue) / density, colour)
    pooled = np.concatenate([rgb.reshape(-1, 3) for rgb in samples])
    return Stain(background, PRIOR_DENSITY, 0.0, estimate_red_cell(pooled, background))
