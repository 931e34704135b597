"""Evaluate served weights on labelled cells, per source and never only pooled."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard, SourceEvaluation
from models.predictor import Classifier
from models.taxonomy import CODES
from models.training.crops import read_crops
from models.training.manifest import LabelledCell
from models.training.metrics import measure

CHUNK = 64
"""Cells decoded at a time: 64 patches of 400 × 400 px are 31 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Class probabilities of the cells whose files could be read.

    Attributes:
        cells: N of them.
        probabilities: shape (N, 15), columns in taxonomy order.
        unreadable: cells per source whose file could not be decoded.
    """

    cells: tuple[LabelledCell, ...]
    probabilities: NDArray[np.float32]
    unreadable: Counter[str]

    def per_source(self, card: ClassifierCard) -> dict[str, SourceEvaluation]:
        """Figures of every source on its own."""
        sources = sorted({cell.source for cell in self.cells} | set(self.unreadable))
        return {source: self._measure(source, card) for source in sources}

    def _measure(self, source: str, card: ClassifierCard) -> SourceEvaluation:
        inside = [i for i, cell in enumerate(self.cells) if cell.source == source]
        return measure(
            self.probabilities[inside],
            [self.cells[i].label for i in inside],
            unsupported=card.unsupported_classes,
            unreadable=self.unreadable[source],
        )


def predict_cells(
    classifier: Classifier,
    cells: Sequence[LabelledCell],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Classify labelled crops exactly as a slide's patches are: 400 px over 29 µm."""
    card = classifier.card
    kept: list[LabelledCell] = []
    unreadable: Counter[str] = Counter()
    rows = [np.empty((0, len(CODES)), np.float32)]
    for start in range(0, len(cells), CHUNK):
        chunk = cells[start : start + CHUNK]
        patches, readable = read_crops(chunk, field_um=card.patch_um, px=card.patch_px)
        rows.append(classifier.predict(patches))
        kept += [chunk[i] for i in readable]
        unreadable.update(c.source for i, c in enumerate(chunk) if i not in set(readable))
        if on_progress:
            on_progress(start + len(chunk), len(cells))
    return Predictions(tuple(kept), np.concatenate(rows), unreadable)
