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
from worker.monolayer.contrast import Contrast, find_contrast

MIN_HEIGHT: Final = 0.08
"""Density between cells and gaps below which a sample shows no cells. The palest red cells of the
Chula fields have 0.13; JPEG noise and uneven light stay below."""

GAPS: Final = (0.03, 0.65)
"""Share of a sample that cells may cover if one layer is to be read from it: nearly empty ones show
dirt, nearly full ones several layers."""

SHARP_UM: Final = 2.0
"""Samples with edges wider than this are used only if there are no others: blur dilutes cells."""

THINNEST: Final = 25.0
"""Percentile of the samples' cell density taken for one layer, so that stacks may be the rule."""

PRIOR_DENSITY: Final = 0.4
"""Of a red cell, where no sample shows any; the fields seen have 0.13 to 0.65."""


@dataclass(frozen=True, slots=True)
class Stain:
    """Glass and red cells of one slide.

    Attributes:
        background: RGB of the glass, shape (3,), 0–255.
        density: of one red cell in green light, where haemoglobin and eosin absorb; natural log.
        tint: density in red less that in blue light, over that in green, of a red cell. Nuclei
            have far more: the azure dyes absorb red and pass blue, haemoglobin the reverse.
    """

    background: NDArray[np.float32]
    density: float
    tint: float


def estimate_stain(samples: Sequence[NDArray[np.uint8]], um_per_px: float) -> Stain:
    """Read glass and red cells off samples of the smear, thin and thick.

    Args:
        samples: RGB, each (height, width, 3), 0–255; at least one.
        um_per_px: of the samples.
    """
    background = estimate_background(np.concatenate([rgb.reshape(-1, 3) for rgb in samples]))
    table = density_table(background)
    usable: list[tuple[Contrast, float]] = []
    for rgb in samples:
        contrast = find_contrast(rgb[..., 1], table[1], um_per_px)
        if contrast.height < MIN_HEIGHT or not GAPS[0] <= contrast.cells.mean() <= GAPS[1]:
            continue
        red, blue = (float(np.median(table[i][rgb[..., i][contrast.cells]])) for i in (0, 2))
        usable.append((contrast, (red - blue) / contrast.density))
    if not usable:
        return Stain(background, PRIOR_DENSITY, 0.0)
    sharp = [sample for sample in usable if sample[0].edge_um <= SHARP_UM] or usable
    return Stain(
        background,
        density=float(np.percentile([contrast.density for contrast, _ in sharp], THINNEST)),
        tint=float(np.median([tint for _, tint in sharp])),
    )
