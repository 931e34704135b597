"""Bootstrap intervals that resample what is independent: patients where known, not cells.

Efron B, Tibshirani RJ. "An introduction to the bootstrap." Chapman & Hall, 1993, ch. 13 (percentile
interval); Field CA, Welsh AH. "Bootstrapping clustered data." J R Stat Soc B 69, 369–390 (2007).
Replicates are integer weights of units, so that every statistic is a matrix product or a weighted
rank sum over all replicates of a batch at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from models.training.data.manifest import LabelledCell

BATCH: Final = 50
"""Replicates computed at a time: 50 of 18,365 cells are 7 MB an array."""

REPLICATES: Final = 2000
"""Of an interval in a card or report."""

SEED: Final = 2019

Weights = NDArray[np.float64]
"""Shape (B, U): how often each unit was drawn in each replicate."""

Statistic = Callable[[Weights], Mapping[str, NDArray[np.float64]]]
"""Named figures of B replicates, each of shape (B,); NaN where undefined."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is drawn as a whole.

    Attributes:
        of_cell: unit of each cell, shape (N,).
        strata: the units of each source; as many are drawn anew from each as it has.
        kinds: number of units by kind: "patients", "groups", "cells".
    """

    of_cell: NDArray[np.intp]
    strata: tuple[NDArray[np.intp], ...]
    kinds: dict[str, int]

    @property
    def count(self) -> int:
        """Units of all kinds."""
        return sum(self.kinds.values())


def plan_units(cells: Sequence[LabelledCell]) -> Units:
    """Resampling units: a patient where known, else a group of near-duplicates, else the cell."""
    keys = [_unit_of(index, cell) for index, cell in enumerate(cells)]
    index_of = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    sources: dict[str, list[int]] = {}
    for source, kind, name in index_of:
        sources.setdefault(source, []).append(index_of[source, kind, name])
    return Units(
        of_cell=np.array([index_of[key] for key in keys], np.intp),
        strata=tuple(np.array(units, np.intp) for units in sources.values()),
        kinds=dict(Counter(kind for _, kind, _ in index_of)),
    )


def bootstrap(
    units: Units, statistics: Sequence[Statistic], *, replicates: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Every statistic's figures over the same replicates.

    Returns:
        Name → shape (replicates,), NaN where a replicate leaves the figure undefined.
    """
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for weights in _draw_weights(units, replicates=replicates, seed=seed):
        for statistic in statistics:
            for name, values in statistic(weights).items():
                parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def percentile_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 2.5 % and 97.5 % percentiles of the defined replicates; None if there are none."""
    defined = values[np.isfinite(values)]
    if not defined.size:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def auc_statistic(
    name: str, scores: NDArray[np.floating], member: NDArray[np.bool_], of_cell: NDArray[np.intp]
) -> Statistic:
    """Area under the ROC curve, ties counted half (Mann–Whitney), with weighted cells.

    Args:
        name: of the figure.
        scores: shape (N,).
        member: who should score higher, shape (N,).
        of_cell: unit of each cell, shape (N,).
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    tie_starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    in_order, is_member = of_cell[order], member[order]

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        drawn = weights[:, in_order]
        members = np.add.reduceat(drawn * is_member, tie_starts, axis=1)
        others = np.add.reduceat(drawn * ~is_member, tie_starts, axis=1)
        below = np.cumsum(others, axis=1) - others / 2
        pairs = members.sum(axis=1) * others.sum(axis=1)
        wins = (members * below).sum(axis=1)
        return {name: np.divide(wins, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)}

    return statistic


def class_statistic(
    truth: NDArray[np.intp],
    predicted: NDArray[np.intp],
    of_cell: NDArray[np.intp],
    *,
    averaged: Sequence[int],
    classes: int,
) -> Statistic:
    """`accuracy`, `balanced_accuracy` and `macro_f1` from each replicate's confusion matrix.

    Args:
        truth: true class, shape (N,).
        predicted: predicted class, shape (N,).
        of_cell: unit of each cell, shape (N,).
        averaged: classes the means are over; in a replicate, those of them that were drawn.
        classes: number of classes, K.
    """
    pair = truth * classes + predicted
    shape = (int(of_cell.max()) + 1, classes * classes)
    per_unit = coo_array((np.ones(len(pair)), (of_cell, pair)), shape=shape).tocsr()

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        confusion = np.asarray((per_unit.T @ weights.T).T).reshape(-1, classes, classes)
        hits = np.diagonal(confusion, axis1=1, axis2=2)[:, averaged]
        true = confusion.sum(axis=2)[:, averaged]
        called = confusion.sum(axis=1)[:, averaged]
        drawn = true > 0
        recall = np.divide(hits, true, out=np.zeros_like(hits), where=drawn)
        f1 = np.divide(2 * hits, true + called, out=np.zeros_like(hits), where=drawn)
        all_hits = np.trace(confusion, axis1=1, axis2=2)
        count = drawn.sum(axis=1)
        mean = np.full(len(confusion), np.nan)
        return {
            "accuracy": all_hits / confusion.sum(axis=(1, 2)),
            "balanced_accuracy": np.divide(
                recall.sum(axis=1), count, out=mean.copy(), where=count > 0
            ),
            "macro_f1": np.divide(f1.sum(axis=1), count, out=mean.copy(), where=count > 0),
        }

    return statistic


def mean_statistic(name: str, values: NDArray[np.floating], of_cell: NDArray[np.intp]) -> Statistic:
    """Mean over cells of a per-cell value, shape (N,); cells whose value is NaN are left out."""
    kept = np.isfinite(values)
    units = int(of_cell.max()) + 1
    total = np.bincount(of_cell[kept], values[kept], minlength=units)
    count = np.bincount(of_cell[kept], minlength=units).astype(np.float64)

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        n = weights @ count
        return {name: np.divide(weights @ total, n, out=np.full(len(n), np.nan), where=n > 0)}

    return statistic


def _unit_of(index: int, cell: LabelledCell) -> tuple[str, str, str]:
    if cell.patient:
        return cell.source, "patients", cell.patient
    if cell.group:
        return cell.source, "groups", cell.group
    return cell.source, "cells", str(index)


def _draw_weights(units: Units, *, replicates: int, seed: int) -> Iterator[Weights]:
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, BATCH):
        size = min(BATCH, replicates - start)
        weights = np.zeros((size, units.count))
        row = np.arange(size)[:, None] * units.count
        for stratum in units.strata:
            drawn = stratum[rng.integers(0, len(stratum), (size, len(stratum)))]
            weights += np.bincount((row + drawn).ravel(), minlength=weights.size).reshape(
                weights.shape
            )
        yield weights
