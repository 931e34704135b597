"""The list of labelled cells: `path,source,label,patient,split,um_per_px`."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.taxonomy import CellClass

COLUMNS: Final = ("path", "source", "label", "patient", "split", "um_per_px")


class ManifestError(ModelError):
    """A manifest lacks a column or holds a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One crop with a leukocyte at its centre.

    Attributes:
        path: of the image file.
        source: the laboratory or data set it comes from; figures are reported per source.
        label: its class.
        patient: group that must not be split between training and evaluation; "" if unknown.
        um_per_px: micrometres per pixel of the file.
    """

    path: Path
    source: str
    label: CellClass
    patient: str
    um_per_px: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labelled cells of one split, and the rows whose label is not one of the 15 codes."""

    cells: tuple[LabelledCell, ...]
    left_out: Counter[str]


def read_manifest(
    path: Path, *, root: Path, split: str | None = None, leave_out_split: str | None = None
) -> Manifest:
    """Read a manifest.

    Args:
        path: CSV with the header `path,source,label,patient,split,um_per_px`.
        root: directory that `path` entries are relative to.
        split: keep only rows of this split; all rows if None.
        leave_out_split: drop rows of this split.

    Raises:
        ManifestError: a column is missing or um_per_px is not a positive number.
    """
    cells: list[LabelledCell] = []
    left_out: Counter[str] = Counter()
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise ManifestError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
        for line, row in enumerate(reader, start=2):
            if (split is not None and row["split"] != split) or row["split"] == leave_out_split:
                continue
            if row["label"] not in CellClass.__members__:
                left_out[row["label"]] += 1
                continue
            cells.append(
                LabelledCell(
                    path=root / row["path"],
                    source=row["source"],
                    label=CellClass(row["label"]),
                    patient=row["patient"],
                    um_per_px=_positive(row["um_per_px"], where=f"{path.name}, line {line}"),
                )
            )
    return Manifest(cells=tuple(cells), left_out=left_out)


def _positive(text: str, *, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise ManifestError(f"{where}: um_per_px is {text!r}, expected a positive number")
    return value
