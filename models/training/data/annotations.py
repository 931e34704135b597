"""`annotations.dat` of AML-Cytomorphology_LMU: what three examinations call each cell.

Matek C, Schwarz S, Marr C, Spiekermann K. "A Single-cell Morphological Dataset of Leukocytes from
AML Patients and Non-malignant Controls." The Cancer Imaging Archive (2019),
doi 10.7937/tcia.2019.36f5o9ld. The published file holds the 15 codes only: its authors merged
their finer classes (Auer rods into MYO and PMO, faggot cells into PMO) before they published it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from models.errors import ModelError
from models.taxonomy import CellClass

UNASSIGNED: Final = "UNC"
"""The examiner could not name the cell."""

NOT_EXAMINED: Final = "nan"
"""The cell was not shown to this examiner."""

FIELDS: Final = ("image", "label", "re-annotation 1", "re-annotation 2")

Verdict = CellClass | Literal["UNC"] | None
"""A class, "UNC", or None where the cell was not shown."""

EXPECTED_COUNTS: Final[dict[CellClass, int]] = {
    CellClass.BAS: 79,
    CellClass.EBO: 78,
    CellClass.EOS: 424,
    CellClass.KSC: 15,
    CellClass.LYA: 11,
    CellClass.LYT: 3937,
    CellClass.MMZ: 15,
    CellClass.MOB: 26,
    CellClass.MON: 1789,
    CellClass.MYB: 42,
    CellClass.MYO: 3268,
    CellClass.NGB: 109,
    CellClass.NGS: 8484,
    CellClass.PMB: 18,
    CellClass.PMO: 70,
}
"""Cells of each class in the published data set, 18,365 in all (Matek et al. 2019, Table 1)."""


class AnnotationsError(ModelError):
    """An annotation file cannot be read, or a line of it means nothing."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line: a cell and what it was called.

    Attributes:
        name: of the image below the class folders' parent: `BAS/BAS_0001.tiff`.
        label: the data set's own, its gold standard.
        first: re-annotation 1.
        second: re-annotation 2.
    """

    name: str
    label: CellClass
    first: Verdict
    second: Verdict

    @property
    def folder(self) -> str:
        """The class folder the image lies in."""
        return PurePosixPath(self.name).parent.name


def read_annotations(path: Path) -> tuple[Annotation, ...]:
    """Read `annotations.dat`: no header; image, label, re-annotations 1 and 2, by white space.

    Raises:
        AnnotationsError: the file is missing, empty or not text, a line has not four fields, a
            code is unknown, an image lies in no folder or stands in two lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise AnnotationsError(f"{path} cannot be read as text: {err}") from err
    annotations: list[Annotation] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        annotation = _read_line(line, where=where)
        if first := seen.get(annotation.name):
            raise AnnotationsError(f"{where}: {annotation.name} stands in line {first} already")
        seen[annotation.name] = number
        annotations.append(annotation)
    if not annotations:
        raise AnnotationsError(f"{path} holds no annotation; download the data set's file again")
    return tuple(annotations)


def count_classes(labels: Iterable[CellClass]) -> dict[CellClass, int]:
    """Cells of every class, in taxonomy order, 0 included."""
    counts = Counter(labels)
    return {code: counts[code] for code in CellClass}


def _read_line(line: str, *, where: str) -> Annotation:
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise AnnotationsError(
            f"{where}: {len(fields)} fields, expected {len(FIELDS)}: {', '.join(FIELDS)}"
        )
    name, label, first, second = fields
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise AnnotationsError(f"{where}: image {name!r}, expected CLASS/FILE")
    code = _read_verdict(label, where=where, field=FIELDS[1])
    if not isinstance(code, CellClass):
        raise AnnotationsError(f"{where}: label is {label!r}, expected one of the 15 codes")
    return Annotation(
        name=name,
        label=code,
        first=_read_verdict(first, where=where, field=FIELDS[2]),
        second=_read_verdict(second, where=where, field=FIELDS[3]),
    )


def _read_verdict(text: str, *, where: str, field: str) -> Verdict:
    if text == NOT_EXAMINED:
        return None
    if text == UNASSIGNED:
        return UNASSIGNED
    if text in CellClass.__members__:
        return CellClass(text)
    raise AnnotationsError(
        f"{where}: {field} is {text!r}, expected one of {', '.join(CellClass)}, "
        f"{UNASSIGNED} or {NOT_EXAMINED}"
    )
