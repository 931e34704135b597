"""How far a slide's colours are from those the classifier was trained on.

Networks transfer badly between laboratories (macro-F1 falls by a third to three quarters in
published work), and colour is what differs first. Nothing here corrects it; the reader is told.
What training looked like stands in the classifier's card.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import StainReference

QUANTILES: Final = (0.05, 0.90)
"""Of a patch's px, channel by channel: its nucleus, and what lies between cells."""
FEATURES: Final = tuple(
    f"{part} in {light} light"
    for part in ("nuclei", "the gaps between cells")
    for light in ("red", "green", "blue")
)
MIN_CELLS: Final = 20
"""Fewer do not tell a stain from the chance of which cells there are."""
PX_STEP: Final = 4
"""Every fourth px of each fourth row is looked at."""


@dataclass(frozen=True, slots=True)
class StainDistance:
    """Of a slide from the nearest training source.

    Attributes:
        spreads: the largest difference among `FEATURES`, in standard deviations over single cells.
        feature: which one that is.
        grey_level, reference_level: there, on the slide and in training, 0–255.
    """

    spreads: float
    feature: str
    grey_level: float
    reference_level: float


def measure_colours(patch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`FEATURES` of a patch: RGB, shape (height, width, 3), 0–255. ln(value + 1), shape (6,)."""
    pixels = patch[::PX_STEP, ::PX_STEP].reshape(-1, 3)
    places = [int(share * (len(pixels) - 1)) for share in QUANTILES]
    levels = np.partition(pixels, places, axis=0)[places]
    colours: NDArray[np.float64] = np.log(levels.astype(np.float64) + 1).ravel()
    return colours


def compare_stain(
    colours: NDArray[np.float64], references: Iterable[StainReference]
) -> StainDistance | None:
    """Distance of a slide from the nearest training source.

    Args:
        colours: of its cells, shape (N, 6); rows of NaN are left out.
        references: of the classifier's training sources.

    Returns:
        None with fewer than `MIN_CELLS` cells or without a reference.
    """
    known = list(references)
    colours = colours[np.isfinite(colours).all(axis=1)]
    if len(colours) < MIN_CELLS or not known:
        return None
    middle = np.median(colours, axis=0)
    return min((_distance(middle, reference) for reference in known), key=lambda d: d.spreads)


def _distance(middle: NDArray[np.float64], reference: StainReference) -> StainDistance:
    spreads = np.abs(middle - np.array(reference.mean)) / np.array(reference.spread)
    worst = int(spreads.argmax())
    level, usual = (float(np.exp(value) - 1) for value in (middle[worst], reference.mean[worst]))
    return StainDistance(float(spreads[worst]), FEATURES[worst], level, usual)
