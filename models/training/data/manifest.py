"""The list of labelled cells: one row a crop, in CSV."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.taxonomy import CellClass

COLUMNS: Final = ("path", "source", "label", "patient", "split", "um_per_px")
"""Every manifest has them."""

PREPARED_COLUMNS: Final = ("group", "fold")
"""`smearscan train prepare` adds them."""


class ManifestError(ModelError):
    """A manifest lacks a column or holds a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One crop with a leukocyte at its centre.

    Attributes:
        path: of the image file.
        source: the laboratory or data set it comes from; figures are reported per source.
        label: its class.
        patient: the person it comes from; "" if unknown.
        um_per_px: micrometres per pixel of the file.
        split: "train", "val", "test" or what the manifest calls it; "" if it does not say.
        group: cells of one group (a patient, near-duplicate images) must stay in one fold; "" if
            the manifest was not prepared.
        fold: cross-validation fold that holds the cell out, counted from 1; None if unprepared.
        name: the manifest's own entry for `path`, relative to its root: the cell's identity.
    """

    path: Path
    source: str
    label: CellClass
    patient: str
    um_per_px: float
    split: str = ""
    group: str = ""
    fold: int | None = None
    name: str = ""

    @property
    def unit(self) -> str:
        """What must not be divided: the group, else the patient, else the cell by itself."""
        return self.group or self.patient or self.name or str(self.path)


@dataclass(frozen=True, slots=True)
class Stranger:
    """One crop of something that is none of the 15 classes.

    Attributes:
        path, source, patient, um_per_px: as of a `LabelledCell`.
        kind: what the manifest calls it.
    """

    path: Path
    source: str
    kind: str
    patient: str
    um_per_px: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labelled cells of one split, and the rows whose label is not one of the 15 codes."""

    cells: tuple[LabelledCell, ...]
    strangers: tuple[Stranger, ...] = ()

    @property
    def left_out(self) -> Counter[str]:
        """Rows whose label is not one of the 15 codes, by label."""
        return Counter(stranger.kind for stranger in self.strangers)


def read_manifest(
    path: Path, *, root: Path, split: str | None = None, leave_out_split: str | None = None
) -> Manifest:
    """Read a manifest.

    Args:
        path: CSV with the header `path,source,label,patient,split,um_per_px`, and `group,fold` if
            it was prepared.
        root: directory that `path` entries are relative to.
        split: keep only rows of this split; all rows if None.
        leave_out_split: drop rows of this split.

    Raises:
        ManifestError: a column is missing, um_per_px is not a positive number, a fold not a whole
            number from 1, or an entry occurs twice.
    """
    cells: list[LabelledCell] = []
    strangers: list[Stranger] = []
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise ManifestError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
        lines: dict[str, int] = {}
        for line, row in enumerate(reader, start=2):
            where = f"{path.name}, line {line}"
            if None in row.values():
                raise ManifestError(f"{where}: fewer values than columns")
            if first := lines.get(row["path"]):
                raise ManifestError(f"{where}: {row['path']} stands in line {first} already")
            lines[row["path"]] = line
            if (split is not None and row["split"] != split) or row["split"] == leave_out_split:
                continue
            if row["label"] not in CellClass.__members__:
                strangers.append(_read_stranger(row, root=root, where=where))
                continue
            cells.append(_read_cell(row, root=root, where=where))
    return Manifest(cells=tuple(cells), strangers=tuple(strangers))


def write_manifest(path: Path, cells: Iterable[LabelledCell]) -> None:
    """Write a prepared manifest: every column, in the cells' order."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS + PREPARED_COLUMNS)
        for cell in cells:
            fold = "" if cell.fold is None else cell.fold
            writer.writerow(
                [
                    cell.name or cell.path,
                    cell.source,
                    cell.label,
                    cell.patient,
                    cell.split,
                    f"{cell.um_per_px:.10g}",
                    cell.group,
                    fold,
                ]
            )


def _read_cell(row: Mapping[str, str], *, root: Path, where: str) -> LabelledCell:
    return LabelledCell(
        path=root / row["path"],
        source=row["source"],
        label=CellClass(row["label"]),
        patient=row["patient"],
        um_per_px=_positive(row["um_per_px"], where=where),
        split=row["split"],
        group=row.get("group", ""),
        fold=_fold(row.get("fold", ""), where=where),
        name=row["path"],
    )


def _read_stranger(row: Mapping[str, str], *, root: Path, where: str) -> Stranger:
    return Stranger(
        path=root / row["path"],
        source=row["source"],
        kind=row["label"],
        patient=row["patient"],
        um_per_px=_positive(row["um_per_px"], where=where),
    )


def _positive(text: str, *, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise ManifestError(f"{where}: um_per_px is {text!r}, expected a positive number")
    return value


def _fold(text: str, *, where: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ManifestError(f"{where}: fold is {text!r}, expected a whole number from 1")
    return int(text)
