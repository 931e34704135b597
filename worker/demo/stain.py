"""Colours of a stained smear as optical densities, so that what overlaps darkens as dye does."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

DENSITY_STEPS: Final = 2048
"""Integer steps of one unit of optical density (natural logarithm) in every sprite."""
DENSEST: Final = 5.0
"""Natural optical density at which a sprite saturates; a pixel is black long before."""


@dataclass(frozen=True, slots=True)
class Stain:
    """What each part of a smear looks like, RGB 0–255, one layer of it on the glass.

    Attributes:
        name: as written to the truth file.
        glass: the empty background.
        haemoglobin: a red cell off its pallor.
        chromatin: a dense nucleus.
        basophilia: the blue cytoplasm of blasts and lymphocytes.
        neutrophilia: the lilac cytoplasm of neutrophils.
        greyness: the grey-blue cytoplasm of monocytes.
        eosin: an eosinophil's granule.
        basophil: a basophil's granule.
        azurophil: a promyelocyte's or platelet's granule, an Auer rod.
    """

    name: str
    glass: Rgb
    haemoglobin: Rgb
    chromatin: Rgb
    basophilia: Rgb
    neutrophilia: Rgb
    greyness: Rgb
    eosin: Rgb
    basophil: Rgb
    azurophil: Rgb

    def density(self, colour: Rgb) -> NDArray[np.float32]:
        """Optical density of a colour above the glass, −ln(colour / glass), shape (3,), ≥ 0."""
        shade = np.maximum(np.asarray(colour, np.float32), 1) / np.asarray(self.glass, np.float32)
        return np.maximum(-np.log(shade), 0).astype(np.float32)


MAY_GRUNWALD_GIEMSA: Final = Stain(
    name="may-grunwald-giemsa",
    glass=(252, 227, 201),
    haemoglobin=(193, 147, 153),
    chromatin=(84, 34, 136),
    basophilia=(112, 104, 172),
    neutrophilia=(208, 166, 176),
    greyness=(158, 139, 178),
    eosin=(206, 104, 104),
    basophil=(58, 20, 118),
    azurophil=(124, 40, 128),
)
"""Warm glass and red-violet nuclei, as in CellaVision crops (PBC data set, Acevedo et al. 2020)."""

GIEMSA: Final = Stain(
    name="giemsa",
    glass=(238, 233, 232),
    haemoglobin=(192, 150, 170),
    chromatin=(96, 6, 178),
    basophilia=(124, 92, 204),
    neutrophilia=(206, 176, 208),
    greyness=(176, 148, 216),
    eosin=(196, 112, 172),
    basophil=(60, 4, 150),
    azurophil=(140, 30, 170),
)
"""Cool glass and blue-violet nuclei, as in the Munich scans of Matek et al. 2019."""


def quantise(density: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Optical density in integer steps, saturating at `DENSEST`; same shape."""
    steps = np.rint(np.clip(density, 0, DENSEST) * DENSITY_STEPS)
    return steps.astype(np.uint16)
