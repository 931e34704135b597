"""How dark a red cell is in an image: the unit of the detector's input.

Laboratories differ in how dark they stain by more than a nucleus differs from a red cell. In units
of the slide's own red cells a nucleus has 2 to 5 everywhere.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu

from models.density import density_table

PRIOR: Final = (0.17, 0.4, 0.25)
"""Density of a red cell (R, G, B), natural log, where an image shows none: green in the middle of
the sources' medians, red and blue in their usual proportion to it."""

GREEN_LIMITS: Final = (0.08, 1.0)
"""Of any estimate. Medians of labelled red cells: 0.11 (a BCD field) to 0.70 (Raabin)."""

SHARE_LIMITS: Final = (0.2, 1.2)
"""Of red and blue density over green. Where red cells hardly absorb, a grey level more or less
would multiply everything else by two."""

LIKE: Final = (0.7, 1.4)
"""Pixels of this many times a red cell's green density tell its red and blue."""

PALEST: Final = 0.06
"""Pixels paler than this are glass."""

DARKEST_CUT: Final = 0.25
"""The threshold between glass and cells is no darker than this: where leukocytes fill a field it
would fall between their cytoplasm and their nuclei."""

BLACK: Final = 1.6
"""Density in every channel from which a pixel is no stain (a fifth of the light): the surround of
an eyepiece, ink. Nuclei let blue light through."""

MIN_PIXELS: Final = 100
NUCLEUS: Final = 1.8
"""Pixels this many times darker than the median of the cells are nuclei, left out of the next."""

ROUNDS: Final = 5
BINS: Final = 64


def estimate_red_cell(
    rgb: NDArray[np.uint8], background: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Density of a red cell in red, green and blue light; natural log.

    In green, where haemoglobin and eosin absorb, the median of what is darker than glass, nuclei
    left out: within 0.9 to 1.6 of the median of labelled red cells on 96 % of the fields of three
    laboratories, leukocyte crops of 32 µm among them. Too high where leukocytes cover most of the
    image.

    Args:
        rgb: shape (height, width, 3) or any (..., 3), 0–255; one image or several of one slide.
        background: RGB of the glass, shape (3,), 0–255.

    Returns:
        Shape (3,), within the limits above; `PRIOR` where nothing is stained.
    """
    pixels = rgb.reshape(-1, 3)
    table = density_table(background)
    density = np.stack([np.take(table[i], pixels[:, i]) for i in range(3)])
    density = density[:, density.min(axis=0) < BLACK]
    green = density[1]
    counts, edges = np.histogram(np.minimum(green, 2.0), BINS)
    if np.count_nonzero(counts) < 3:
        return np.array(PRIOR, np.float32)
    cut = threshold_multiotsu(hist=(counts, (edges[1:] + edges[:-1]) / 2), classes=3)[0]
    cells = green[green > np.clip(cut, PALEST, DARKEST_CUT)]
    if len(cells) < MIN_PIXELS:
        return np.array(PRIOR, np.float32)
    level = float(np.median(cells))
    for _ in range(ROUNDS):
        level = float(np.median(cells[cells < NUCLEUS * level]))
    level = float(np.clip(level, *GREEN_LIMITS))
    like = density[:, (green > LIKE[0] * level) & (green < LIKE[1] * level)]
    if not like.size:
        return np.array(PRIOR, np.float32) * np.float32(level / PRIOR[1])
    red, _, blue = np.median(like, axis=1)
    return limit_shares(np.array([red, level, blue]))


def limit_shares(colour: NDArray[np.floating]) -> NDArray[np.float32]:
    """A red cell's density, shape (3,), with red and blue kept within `SHARE_LIMITS` of green."""
    low, high = (share * colour[1] for share in SHARE_LIMITS)
    limited = np.array([np.clip(colour[0], low, high), colour[1], np.clip(colour[2], low, high)])
    return limited.astype(np.float32)
