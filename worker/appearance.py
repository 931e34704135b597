"""What the patches of a scan look like, measured as they pass on their way to the classifier."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard
from worker.focus import measure_cell_blur_um
from worker.stain_distance import FEATURES, StainDistance, compare_stain, measure_colours


class Appearance:
    """Blur and colours of cells.

    A cell at the slide's edge is not measured: the white beyond it is neither sharp nor stained.

    Args:
        n: cells there are.
        um_per_px: of their patches.

    Attributes:
        blur_um: shape (n,), NaN where not measured or without a border.
        colours: shape (n, 6), as `measure_colours`; NaN where not measured.
    """

    def __init__(self, n: int, um_per_px: float) -> None:
        self._um_per_px = um_per_px
        self.blur_um: NDArray[np.float64] = np.full(n, np.nan)
        self.colours: NDArray[np.float64] = np.full((n, len(FEATURES)), np.nan)

    def measure(
        self, cells: Sequence[int], patches: NDArray[np.uint8], at_slide_edge: Sequence[bool]
    ) -> None:
        """Look at some cells' patches: RGB, shape (K, height, width, 3), 0–255."""
        for cell, patch, at_edge in zip(cells, patches, at_slide_edge, strict=True):
            if not at_edge:
                self.blur_um[cell] = measure_cell_blur_um(patch, self._um_per_px)
                self.colours[cell] = measure_colours(patch)

    def compare_stain(self, card: ClassifierCard) -> StainDistance | None:
        """How far the cells' colours are from the classifier's training data."""
        return compare_stain(self.colours, (one.stain for one in card.training if one.stain))
