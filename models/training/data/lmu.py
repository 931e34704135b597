"""AML-Cytomorphology_LMU on disk: where it lies, whether it is whole, its cells.

The Cancer Imaging Archive, doi 10.7937/tcia.2019.36f5o9ld: 18,365 crops in one folder a class, and
`annotations.dat`. People keep it under many names and mirrors place the annotations differently,
so it is found by what it holds.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.taxonomy import CellClass
from models.training.data.annotations import Annotation, read_annotations
from models.training.data.findings import FileFindings, read_size
from models.training.data.manifest import LabelledCell

SOURCE: Final = "lmu"

CROP_PX: Final = 400
CROP_UM: Final = 29.0
UM_PER_PX: Final = CROP_UM / CROP_PX
"""0.0725: crops are 400 px and 29 µm wide (Matek et al. 2019, Methods)."""

ANNOTATIONS: Final = "annotations.dat"

_DEPTH: Final = 4
"""Folders below the given one that are searched: `PKG - …/AML-Cytomorphology_LMU/images/…`."""

_IMAGES: Final = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})


class DatasetNotFound(ModelError):
    """The data set does not lie below the given folder, or lies there more than once."""


@dataclass(frozen=True, slots=True)
class LmuDataset:
    """Where the data set lies.

    Attributes:
        classes: the folder that holds the class folders.
        annotations: the annotation file.
    """

    classes: Path
    annotations: Path


def find_lmu(root: Path) -> LmuDataset:
    """Find the class folders and `annotations.dat` at, below or just above a folder.

    Raises:
        DatasetNotFound: there are no class folders, two sets of them, or no annotations.
    """
    found = [folder for folder in _walk(root) if _is_parent_of_classes(folder)]
    if not found:
        raise DatasetNotFound(
            f"no folders named after classes (BAS, EBO, …) at {root} or up to {_DEPTH} folders "
            f"below; give the folder that AML-Cytomorphology_LMU was unpacked to"
        )
    if len(found) > 1:
        listed = ", ".join(str(folder) for folder in found)
        raise DatasetNotFound(f"class folders lie in {listed}; give one of these")
    classes = found[0]
    near = [classes, *classes.parents[:2], *_walk(root)]
    for folder in near:
        if (folder / ANNOTATIONS).is_file():
            return LmuDataset(classes, folder / ANNOTATIONS)
    raise DatasetNotFound(f"no {ANNOTATIONS} near {classes}; put the data set's file beside it")


def verify_lmu(
    dataset: LmuDataset,
    annotations: Sequence[Annotation],
    *,
    threads: int = 4,
    on_progress: Callable[[int, int], None] | None = None,
) -> FileFindings:
    """Look at every annotated file's header and for files that no annotation names.

    Args:
        on_progress: told (done, total).
    """
    missing: list[str] = []
    unreadable: list[str] = []
    wrong_size: list[tuple[str, int, int]] = []
    paths = [dataset.classes / row.name for row in annotations]
    with ThreadPoolExecutor(threads) as pool:
        for done, (row, size) in enumerate(
            zip(annotations, pool.map(read_size, paths), strict=True), start=1
        ):
            if size is None:
                there = (dataset.classes / row.name).is_file()
                (unreadable if there else missing).append(row.name)
            elif size != (CROP_PX, CROP_PX):
                wrong_size.append((row.name, *size))
            if on_progress and (done % 256 == 0 or done == len(paths)):
                on_progress(done, len(paths))
    annotated = {row.name for row in annotations}
    return FileFindings(
        missing=tuple(missing),
        unreadable=tuple(unreadable),
        wrong_size=tuple(wrong_size),
        mislabelled=tuple((row.name, row.label) for row in annotations if row.folder != row.label),
        extra=tuple(name for name in _list_images(dataset.classes) if name not in annotated),
    )


def list_lmu_cells(
    dataset: LmuDataset, annotations: Sequence[Annotation], *, root: Path, without: frozenset[str]
) -> tuple[LabelledCell, ...]:
    """The cells in the annotations' order, named by their path relative to `root`.

    The data set does not say which cells come from one patient.
    """
    return tuple(
        LabelledCell(
            path=dataset.classes / row.name,
            source=SOURCE,
            label=row.label,
            patient="",
            um_per_px=UM_PER_PX,
            name=(dataset.classes / row.name).relative_to(root).as_posix(),
        )
        for row in annotations
        if row.name not in without
    )


def load_lmu(root: Path) -> tuple[LmuDataset, tuple[Annotation, ...]]:
    """Find the data set and read its annotations.

    Raises:
        DatasetNotFound: it does not lie there.
        AnnotationsError: its annotations cannot be read.
    """
    dataset = find_lmu(root)
    return dataset, read_annotations(dataset.annotations)


def _walk(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """A folder and those below it, but neither class folders nor what lies in them."""
    yield folder
    if depth:
        for below in sorted(folder.iterdir()):
            if below.is_dir() and below.name not in CellClass.__members__:
                yield from _walk(below, depth - 1)


def _is_parent_of_classes(folder: Path) -> bool:
    return any((folder / code).is_dir() for code in CellClass)


def _list_images(classes: Path) -> Iterator[str]:
    for code in CellClass:
        for path in sorted((classes / code).rglob("*")):
            if path.suffix.lower() in _IMAGES:
                yield path.relative_to(classes).as_posix()
