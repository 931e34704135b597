"""Figures of a classifier on labelled cells: arrays in, one record per source out."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from models.card import SourceEvaluation
from models.taxonomy import ATYPICAL, BLAST, CODES, INDEX, CellClass

ECE_BINS = 15


def measure(
    probabilities: NDArray[np.float32],
    labels: Sequence[CellClass],
    *,
    unsupported: Sequence[CellClass],
    unreadable: int = 0,
) -> SourceEvaluation:
    """Figures over the cells of one source.

    Args:
        probabilities: shape (N, 15), columns in taxonomy order. N may be 0.
        labels: N true classes.
        unsupported: classes the model cannot name; they count against accuracy and stand in the
            AUCs, but not in the means over classes.
        unreadable: cells left out before, only to be reported.
    """
    support = Counter(labels)
    if not labels:
        return SourceEvaluation(
            n=0,
            unreadable=unreadable,
            accuracy=None,
            balanced_accuracy=None,
            macro_f1=None,
            blast_auc=None,
            atypical_auc=None,
            ece=None,
            recall={},
            support={},
        )
    truth = np.array([INDEX[label] for label in labels])
    predicted = probabilities.argmax(axis=1)
    hit = predicted == truth
    recall = {code: float(hit[truth == INDEX[code]].mean()) for code in CODES if support[code] > 0}
    averaged = [code for code in recall if code not in unsupported]
    f1 = f1_score(
        truth, predicted, labels=[INDEX[c] for c in averaged], average="macro", zero_division=0
    )
    return SourceEvaluation(
        n=len(labels),
        unreadable=unreadable,
        accuracy=float(hit.mean()),
        balanced_accuracy=float(np.mean([recall[c] for c in averaged])) if averaged else None,
        macro_f1=float(f1) if averaged else None,
        blast_auc=group_auc(probabilities, labels, BLAST),
        atypical_auc=group_auc(probabilities, labels, ATYPICAL),
        ece=expected_calibration_error(probabilities.max(axis=1), hit),
        recall=recall,
        support=dict(sorted(support.items())),
    )


def group_probability(
    probabilities: NDArray[np.float32], group: frozenset[CellClass]
) -> NDArray[np.float32]:
    """Sum of a group's columns, shape (N,): P_blast or P_atypical (Matek et al. 2019)."""
    columns = sorted(INDEX[code] for code in group)
    total: NDArray[np.float32] = probabilities[:, columns].sum(axis=1)
    return total


def are_members(labels: Sequence[CellClass], group: frozenset[CellClass]) -> NDArray[np.bool_]:
    """Which labels belong to a group, shape (N,)."""
    return np.array([label in group for label in labels], bool)


def group_auc(
    probabilities: NDArray[np.float32], labels: Sequence[CellClass], group: frozenset[CellClass]
) -> float | None:
    """Area under the ROC curve of a group against all other cells; None without both kinds."""
    member = are_members(labels, group)
    if member.all() or not member.any():
        return None
    return float(roc_auc_score(member, group_probability(probabilities, group)))


def expected_calibration_error(
    confidence: NDArray[np.floating], hit: NDArray[np.bool_], *, bins: int = ECE_BINS
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini et al. 2015).

    Args:
        confidence: top probability, shape (N,), N at least 1.
        hit: whether the top class was right, shape (N,).
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = 0.0
    for index in np.unique(which):
        inside = which == index
        gap += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return float(gap)
