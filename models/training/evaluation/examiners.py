"""How well examiners name cells, and how far they agree: the bar a classifier is held to.

Matek C et al. "Human-level recognition of blast cells in acute myeloid leukemia with convolutional
neural networks." Nat Mach Intell 1, 538–544 (2019): the points in Fig. 3C and 3D, and Fig. S1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.binomial import exact_interval
from models.taxonomy import CODES, GROUPS, CellClass, GroupName
from models.training.data.annotations import UNASSIGNED, Annotation, Verdict

VERDICTS: Final[tuple[str, ...]] = (*(str(code) for code in CODES), UNASSIGNED)
"""Rows and columns of a table of agreement."""

ANNOTATION: Final = "annotation"
FIRST: Final = "re-annotation 1"
SECOND: Final = "re-annotation 2"

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ExaminerPoint:
    """One examiner's operating point on "is this cell of the group?".

    Attributes:
        examiner: "re-annotation 1" or "re-annotation 2"; the data set's label is the truth.
        group: "blast" or "atypical".
        unc: what became of cells the examiner could not assign: "dropped", or "negative", that is
            called not of the group.
        sensitivity: of the `positives` cells of the group, the share called one of it.
        specificity: of the `negatives` other cells, the share called something else.
        n: positives + negatives.
        sensitivity_ci95: exact binomial interval; cells of one smear are not independent, which
            it does not know.
        specificity_ci95: likewise.
    """

    examiner: str
    group: str
    unc: str
    sensitivity: float
    specificity: float
    n: int
    positives: int
    true_positives: int
    negatives: int
    true_negatives: int
    sensitivity_ci95: Interval
    specificity_ci95: Interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two examinations call the same cells.

    Attributes:
        first: whose verdicts are the rows.
        second: whose verdicts are the columns.
        n: cells that both were asked about.
        equal: share of them called the same; both "UNC" counts as the same.
        kappa: Cohen's (Educ Psychol Meas 20, 37–46, 1960): agreement beyond that of chance.
        codes: of rows and columns: the 15 in taxonomy order, then "UNC".
        counts: cells, rows by `first`, columns by `second`.
    """

    first: str
    second: str
    n: int
    equal: float
    kappa: float
    codes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ExaminerFigures:
    """Everything the annotation file says of its examiners.

    Attributes:
        annotated: cells in the file.
        reannotated: cells with at least one re-annotation.
        points: of both re-annotations, both groups, both ways with UNC.
        agreement: annotation against each re-annotation, and these against each other.
    """

    annotated: int
    reannotated: int
    points: tuple[ExaminerPoint, ...]
    agreement: tuple[Agreement, ...]


def measure_examiners(annotations: Sequence[Annotation]) -> ExaminerFigures:
    """Operating points and agreement of the re-annotations.

    A point or an agreement that has no cells to rest on is left out.
    """
    verdicts: dict[str, list[Verdict]] = {
        ANNOTATION: [row.label for row in annotations],
        FIRST: [row.first for row in annotations],
        SECOND: [row.second for row in annotations],
    }
    labels = [row.label for row in annotations]
    points = [
        _measure_point(labels, verdicts[examiner], examiner=examiner, group=group, unc=unc)
        for unc in ("dropped", "negative")
        for examiner in (FIRST, SECOND)
        for group in GROUPS
    ]
    pairs = ((ANNOTATION, FIRST), (ANNOTATION, SECOND), (FIRST, SECOND))
    agreement = [_measure_agreement(a, b, verdicts[a], verdicts[b]) for a, b in pairs]
    return ExaminerFigures(
        annotated=len(annotations),
        reannotated=sum(not (row.first is row.second is None) for row in annotations),
        points=tuple(point for point in points if point),
        agreement=tuple(table for table in agreement if table),
    )


def _measure_point(
    labels: Sequence[CellClass],
    verdicts: Sequence[Verdict],
    *,
    examiner: str,
    group: GroupName,
    unc: str,
) -> ExaminerPoint | None:
    members = GROUPS[group]
    cells = Counter(
        (label in members, verdict in members)
        for label, verdict in zip(labels, verdicts, strict=True)
        if verdict is not None and not (unc == "dropped" and verdict == UNASSIGNED)
    )
    true_positives, true_negatives = cells[True, True], cells[False, False]
    positives = true_positives + cells[True, False]
    negatives = true_negatives + cells[False, True]
    sensitivity_ci95 = exact_interval(true_positives, positives)
    specificity_ci95 = exact_interval(true_negatives, negatives)
    if sensitivity_ci95 is None or specificity_ci95 is None:
        return None
    return ExaminerPoint(
        examiner=examiner,
        group=group,
        unc=unc,
        sensitivity=true_positives / positives,
        specificity=true_negatives / negatives,
        n=positives + negatives,
        positives=positives,
        true_positives=true_positives,
        negatives=negatives,
        true_negatives=true_negatives,
        sensitivity_ci95=sensitivity_ci95,
        specificity_ci95=specificity_ci95,
    )


def _measure_agreement(
    first: str, second: str, rows: Sequence[Verdict], columns: Sequence[Verdict]
) -> Agreement | None:
    both = Counter(
        (str(row), str(column))
        for row, column in zip(rows, columns, strict=True)
        if row is not None and column is not None
    )
    if not (n := both.total()):
        return None
    counts = tuple(tuple(both[row, column] for column in VERDICTS) for row in VERDICTS)
    return Agreement(
        first=first,
        second=second,
        n=n,
        equal=sum(both[code, code] for code in VERDICTS) / n,
        kappa=_kappa(counts),
        codes=VERDICTS,
        counts=counts,
    )


def _kappa(counts: Sequence[Sequence[int]]) -> float:
    """Cohen's kappa of a square table; 1 where both use one and the same code throughout."""
    n = sum(map(sum, counts))
    equal = sum(counts[i][i] for i in range(len(counts))) / n
    columns = [sum(column) for column in zip(*counts, strict=True)]
    chance = sum(sum(row) * column for row, column in zip(counts, columns, strict=True)) / n**2
    return 1.0 if chance == 1.0 else (equal - chance) / (1.0 - chance)
