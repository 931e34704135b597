"""Labelled cells made ready for training: verified, grouped, folded, with a record of it all."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.taxonomy import CellClass
from models.training.data.annotations import EXPECTED_COUNTS, count_classes
from models.training.data.duplicates import find_duplicates, read_thumbnails
from models.training.data.findings import FileFindings, read_size
from models.training.data.folds import FoldTable, assign_folds, assign_groups, count_folds
from models.training.data.lmu import list_lmu_cells, load_lmu, verify_lmu
from models.training.data.manifest import LabelledCell, read_manifest

SAME_CELL_UM: Final = 3.0
"""Two crops whose centres lie nearer than this are centred on one cell: less than the radius of the
smallest leukocyte's nucleus. Further apart, each is centred on its own of two neighbours."""

Track = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a progress bar: called with what is going on, yields `on_progress(done, total)`."""


class DataIncomplete(ModelError):
    """Files are missing or damaged, and that was not allowed; `findings` lists them."""

    def __init__(self, message: str, findings: FileFindings) -> None:
        super().__init__(message)
        self.findings = findings


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two crops that show the same cell, by name.

    Attributes:
        correlation: of the area they share.
        shift_um: between their centres.
        splits: of the first and the second.
        labels: of the first and the second.
    """

    first: str
    second: str
    correlation: float
    shift_um: float
    labels: tuple[str, str]
    splits: tuple[str, str]


@dataclass(frozen=True, slots=True)
class DuplicateRecord:
    """Near duplicates, and those of them that are a fault of the data.

    Attributes:
        pairs: all of them; a group of n duplicates may be named by n − 1 to n (n − 1) / 2 pairs.
        label_conflicts: centred on one cell, but labelled differently.
        split_conflicts: in different splits: one trains what the other tests.
    """

    pairs: tuple[DuplicatePair, ...]
    label_conflicts: tuple[DuplicatePair, ...]
    split_conflicts: tuple[DuplicatePair, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made.

    Attributes:
        cells: ready to be written, every one with a group and a fold.
        findings: of the files; cells that cannot be used are not in `cells`.
        found: cells of every class.
        expected: cells of every class in the published data set; None for a manifest.
        folds: how the cells were divided.
        duplicates: None if they were not looked for.
        left_out: rows whose label is not one of the 15 codes, by label.
    """

    cells: tuple[LabelledCell, ...]
    findings: FileFindings
    found: dict[CellClass, int]
    expected: dict[CellClass, int] | None
    folds: FoldTable
    duplicates: DuplicateRecord | None
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreparePlan:
    """How to prepare.

    Attributes:
        folds: how many.
        seed: of the division into folds.
        duplicates: look for near duplicates, which decodes every file once; without it damage
            behind an image's header stays unseen.
        partial: go on without files that are missing or damaged.
        threads: that decode.
    """

    folds: int = 5
    seed: int = 2019
    duplicates: bool = True
    partial: bool = False
    threads: int = 2


def prepare_lmu(root: Path, plan: PreparePlan, *, track: Track) -> Prepared:
    """Prepare AML-Cytomorphology_LMU; names are relative to `root`.

    Raises:
        DatasetNotFound: it does not lie at or below `root`.
        AnnotationsError: its annotations cannot be read.
        DataIncomplete: files are missing or damaged, or classes short, and `plan.partial` is off.
        FoldError: too few cells for the folds.
    """
    dataset, annotations = load_lmu(root)
    with track("reading headers") as on_progress:
        findings = verify_lmu(dataset, annotations, threads=plan.threads, on_progress=on_progress)
    counts = count_classes(row.label for row in annotations)
    if counts != EXPECTED_COUNTS and not plan.partial:
        unlike = ", ".join(
            f"{code} {counts[code]} instead of {EXPECTED_COUNTS[code]}"
            for code in CellClass
            if counts[code] != EXPECTED_COUNTS[code]
        )
        raise DataIncomplete(
            f"{dataset.annotations} is not the published one: {unlike}; --partial takes it",
            findings,
        )
    cells = list_lmu_cells(dataset, annotations, root=root, without=findings.unusable)
    return _prepare(cells, findings, plan, track=track, expected=dict(EXPECTED_COUNTS))


def prepare_manifest(manifest: Path, root: Path, plan: PreparePlan, *, track: Track) -> Prepared:
    """Prepare the cells of a manifest, every split of it.

    Raises:
        ManifestError: the manifest cannot be used.
        DataIncomplete: files are missing or damaged, and `plan.partial` is off.
        FoldError: too few groups for the folds.
    """
    rows = read_manifest(manifest, root=root)
    with track("reading headers") as on_progress, ThreadPoolExecutor(plan.threads) as pool:
        damaged: list[LabelledCell] = []
        sizes = pool.map(read_size, (cell.path for cell in rows.cells))
        for done, (cell, size) in enumerate(zip(rows.cells, sizes, strict=True), start=1):
            if size is None:
                damaged.append(cell)
            on_progress(done, len(rows.cells))
    findings = FileFindings(
        missing=tuple(cell.name for cell in damaged if not cell.path.is_file()),
        unreadable=tuple(cell.name for cell in damaged if cell.path.is_file()),
    )
    cells = tuple(cell for cell in rows.cells if cell.name not in findings.unusable)
    return _prepare(cells, findings, plan, track=track, left_out=dict(rows.left_out))


def _prepare(
    cells: Sequence[LabelledCell],
    findings: FileFindings,
    plan: PreparePlan,
    *,
    track: Track,
    expected: dict[CellClass, int] | None = None,
    left_out: dict[str, int] | None = None,
) -> Prepared:
    _refuse(findings, plan)
    links: list[tuple[int, int]] = []
    record = None
    if plan.duplicates:
        with track("decoding") as on_progress:
            thumbnails = read_thumbnails(cells, threads=plan.threads, on_progress=on_progress)
        findings = findings.with_unreadable(cells[i].name for i in thumbnails.unreadable)
        _refuse(findings, plan)
        cells = [cells[i] for i in thumbnails.readable]
        with track("comparing") as on_progress:
            found = find_duplicates(thumbnails.grey, threads=plan.threads, on_progress=on_progress)
        links = [(pair.first, pair.second) for pair in found]
        pairs = tuple(
            _name(cells[pair.first], cells[pair.second], pair.correlation, pair.shift_um)
            for pair in found
        )
        record = DuplicateRecord(
            pairs=pairs,
            label_conflicts=tuple(
                pair
                for pair in pairs
                if pair.labels[0] != pair.labels[1] and pair.shift_um < SAME_CELL_UM
            ),
            split_conflicts=tuple(pair for pair in pairs if pair.splits[0] != pair.splits[1]),
        )
    folded = assign_folds(assign_groups(cells, links), folds=plan.folds, seed=plan.seed)
    return Prepared(
        cells=folded,
        findings=findings,
        found=count_classes(cell.label for cell in folded),
        expected=expected,
        folds=count_folds(folded),
        duplicates=record,
        left_out=left_out or {},
    )


def _refuse(findings: FileFindings, plan: PreparePlan) -> None:
    if findings.unusable and not plan.partial:
        raise DataIncomplete(
            f"{len(findings.unusable)} files cannot be used: {len(findings.missing)} missing, "
            f"{len(findings.unreadable)} unreadable, {len(findings.wrong_size)} of another size, "
            f"{len(findings.mislabelled)} in the folder of another class; complete the download, "
            f"or go on without them by --partial",
            findings,
        )


def _name(
    first: LabelledCell, second: LabelledCell, correlation: float, shift_um: float
) -> DuplicatePair:
    return DuplicatePair(
        first=first.name,
        second=second.name,
        correlation=round(correlation, 4),
        shift_um=round(shift_um, 1),
        labels=(first.label, second.label),
        splits=(first.split, second.split),
    )
