"""Groups of cells that belong together, and cross-validation folds that never split one."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import ModelError
from models.taxonomy import CellClass
from models.training.data.manifest import LabelledCell

DEFAULT_FOLDS: Final = 5
"""Matek et al. 2019."""


class FoldError(ModelError):
    """The cells cannot be divided into that many folds."""


@dataclass(frozen=True, slots=True)
class FoldTable:
    """How the cells were divided.

    Attributes:
        counts: of every class that has cells, the cells in folds 1, 2, …
        groups: how many groups there are.
        largest_group: cells in the largest one.
        too_few: classes with fewer groups than folds, with their number of groups: some folds hold
            none of it out, and say nothing of it.
    """

    counts: dict[CellClass, tuple[int, ...]]
    groups: int
    largest_group: int
    too_few: dict[CellClass, int]


def assign_groups(
    cells: Sequence[LabelledCell], links: Iterable[tuple[int, int]]
) -> tuple[LabelledCell, ...]:
    """Join cells of one patient and cells that are linked, over any number of steps.

    A group is named after its first patient, `source:patient`, or else its first cell in
    alphabetical order. Patients of two sources are different people whatever their ids. A group
    that the manifest states already is kept together too.

    Args:
        links: pairs of indices into `cells`: near duplicates.
    """
    members: dict[tuple[str, str], int] = {}
    edges = list(links)
    for index, cell in enumerate(cells):
        keys = []
        if cell.patient:
            keys.append(("patient", f"{cell.source}:{cell.patient}"))
        if cell.group:
            keys.append(("group", cell.group))
        edges += [(members.setdefault(key, index), index) for key in keys]
    first, second = np.array(edges, np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(cells),) * 2)
    component: NDArray[np.intp] = connected_components(graph, directed=False)[1]
    names: dict[int, tuple[bool, str]] = {}
    for which, cell in zip(component.tolist(), cells, strict=True):
        name = f"{cell.source}:{cell.patient}" if cell.patient else _identity(cell)
        candidate = (not cell.patient, name)
        names[which] = min(names.get(which, candidate), candidate)
    return tuple(
        replace(cell, group=names[which][1])
        for which, cell in zip(component.tolist(), cells, strict=True)
    )


def assign_folds(
    cells: Sequence[LabelledCell], *, folds: int = DEFAULT_FOLDS, seed: int
) -> tuple[LabelledCell, ...]:
    """Put every cell in one fold, 1 to `folds`, each class spread evenly.

    Cells of one group share a fold; a cell without a group is one by itself. The result depends
    on the cells and the seed, not on their order. Where groups are single cells, the folds'
    counts of a class differ by at most 1. scikit-learn's StratifiedGroupKFold deals the groups
    out, the most lopsided first. Sources are not strata of their own: tried on two sources, the
    patients of one, it left folds with twice the promyelocytes of others.

    Raises:
        FoldError: fewer than two folds, or fewer groups than folds.
    """
    groups = [cell.group or _identity(cell) for cell in cells]
    available = len(set(groups))
    if folds < 2:
        raise FoldError(f"{folds} folds; cross-validation needs at least 2")
    if available < folds:
        raise FoldError(
            f"{folds} folds of {len(cells)} cells in {available} groups: a group cannot be split; "
            f"ask for at most {available} folds or add patients"
        )
    order = sorted(range(len(cells)), key=lambda index: _identity(cells[index]))
    stratum = np.unique([cells[index].label for index in order], return_inverse=True)[1]
    group = np.unique([groups[index] for index in order], return_inverse=True)[1]
    if np.bincount(stratum).max() < folds:  # scikit-learn refuses where every stratum is tiny
        stratum = np.zeros_like(stratum)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(cells), np.intp)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, held_out) in enumerate(splitter.split(order, stratum, group), start=1):
            fold[np.array(order)[held_out]] = number
    return tuple(replace(cell, fold=int(number)) for cell, number in zip(cells, fold, strict=True))


def count_folds(cells: Sequence[LabelledCell]) -> FoldTable:
    """Cells of every class in every fold, of cells that have one."""
    folds = max((cell.fold or 0 for cell in cells), default=0)
    counts = Counter((cell.label, cell.fold) for cell in cells)
    sizes = Counter(cell.group or _identity(cell) for cell in cells)
    groups_of = {
        code: len({cell.group or _identity(cell) for cell in cells if cell.label is code})
        for code in CellClass
    }
    return FoldTable(
        counts={
            code: tuple(counts[code, fold] for fold in range(1, folds + 1))
            for code, groups in groups_of.items()
            if groups
        },
        groups=len(sizes),
        largest_group=max(sizes.values(), default=0),
        too_few={code: groups for code, groups in groups_of.items() if 0 < groups < folds},
    )


def _identity(cell: LabelledCell) -> str:
    return cell.name or str(cell.path)
