"""What a classifier says of labelled cells, in memory and as CSV."""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard, SourceEvaluation
from models.errors import ModelError
from models.predictor import Classifier
from models.taxonomy import CODES, CellClass
from models.training.data.crops import read_crops
from models.training.data.manifest import LabelledCell
from models.training.evaluation.metrics import measure

CHUNK = 64
"""Cells decoded at a time: 64 patches of 400 × 400 px are 31 MB."""

CELL_COLUMNS: Final = ("path", "source", "label", "patient", "group", "fold", "um_per_px")
"""Columns before the 15 of the probabilities, which are named by their codes."""


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

    @property
    def labels(self) -> list[CellClass]:
        """N true classes."""
        return [cell.label for cell in self.cells]

    def of_source(self, source: str) -> "Predictions":
        """Only the cells of one source."""
        inside = [i for i, cell in enumerate(self.cells) if cell.source == source]
        return Predictions(
            tuple(self.cells[i] for i in inside),
            self.probabilities[inside],
            Counter({source: self.unreadable[source]}),
        )

    def take(self, rows: NDArray[np.bool_]) -> "Predictions":
        """Only the cells of some rows, shape (N,); files that could not be read stay counted."""
        kept = np.flatnonzero(rows)
        return Predictions(
            tuple(self.cells[i] for i in kept), self.probabilities[kept], self.unreadable
        )

    @property
    def sources(self) -> list[str]:
        """Every source with a cell, sorted."""
        return sorted({cell.source for cell in self.cells} | set(self.unreadable))

    def per_source(self, card: ClassifierCard) -> dict[str, SourceEvaluation]:
        """Figures of every source on its own."""
        return {source: self.of_source(source)._measure(card) for source in self.sources}

    def _measure(self, card: ClassifierCard) -> SourceEvaluation:
        return measure(
            self.probabilities,
            self.labels,
            unsupported=card.unsupported_classes,
            unreadable=self.unreadable.total(),
        )


def predict_cells(
    classifier: Classifier,
    cells: Sequence[LabelledCell],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Predictions:
    """Classify labelled crops exactly as a slide's patches are: 400 px over 29 µm.

    Args:
        classifier: what is to be measured.
        cells: labelled crops.
        on_progress: told (done, total).
        change: applied to each batch of patches, shape (K, 400, 400, 3), before the classifier
            sees it: a control hides the cells with it.
    """
    card = classifier.card
    kept: list[LabelledCell] = []
    unreadable: Counter[str] = Counter()
    rows = [np.empty((0, len(CODES)), np.float32)]
    for start in range(0, len(cells), CHUNK):
        chunk = cells[start : start + CHUNK]
        patches, readable = read_crops(chunk, field_um=card.patch_um, px=card.patch_px)
        rows.append(classifier.predict(change(patches) if change else patches))
        kept += [chunk[i] for i in readable]
        lost = set(range(len(chunk))).difference(readable)
        unreadable.update(chunk[i].source for i in lost)
        if on_progress:
            on_progress(start + len(chunk), len(cells))
    return Predictions(tuple(kept), np.concatenate(rows), unreadable)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write one row a cell; unreadable cells are rows without probabilities, one per cell.

    The file appears whole or not at all.
    """
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*CELL_COLUMNS, *CODES])
        for cell, row in zip(predictions.cells, predictions.probabilities, strict=True):
            writer.writerow([*_cell_values(cell), *(f"{value:.7g}" for value in row)])
        for source in predictions.unreadable.elements():
            writer.writerow(["", source, *[""] * (len(CELL_COLUMNS) - 2 + len(CODES))])
    partial.replace(path)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; a cell's path is its name.

    Raises:
        ModelError: the file is missing or not of that form.
    """
    cells: list[LabelledCell] = []
    rows: list[list[float]] = []
    unreadable: Counter[str] = Counter()
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if not row["path"]:
                    unreadable[row["source"]] += 1
                    continue
                cells.append(_read_cell(row))
                rows.append([float(row[code]) for code in CODES])
    except (OSError, KeyError, ValueError, TypeError) as err:
        raise ModelError(f"{path} does not hold predictions: {err}") from err
    probabilities = np.array(rows, np.float32).reshape(-1, len(CODES))
    return Predictions(tuple(cells), probabilities, unreadable)


def _cell_values(cell: LabelledCell) -> list[object]:
    fold = "" if cell.fold is None else cell.fold
    name = cell.name or str(cell.path)
    return [name, cell.source, cell.label, cell.patient, cell.group, fold, f"{cell.um_per_px:.10g}"]


def _read_cell(row: dict[str, str]) -> LabelledCell:
    return LabelledCell(
        path=Path(row["path"]),
        source=row["source"],
        label=CellClass(row["label"]),
        patient=row["patient"],
        um_per_px=float(row["um_per_px"]),
        group=row["group"],
        fold=int(row["fold"]) if row["fold"] else None,
        name=row["path"],
    )
