"""Cuts on P_blast or P_atypical: sensitivity at a fixed specificity, and the ROC curve itself."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from models.binomial import exact_interval
from models.training.evaluation.records import FixedSpecificity, Proportion

SPECIFICITIES: Final = (0.99, 0.95)
"""What sensitivity is reported at."""


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """From (0, 0), where nothing is called, to (1, 1), where everything is.

    Attributes:
        false_positive_rate: shape (P,), ascending, from 0 to 1.
        true_positive_rate: shape (P,), ascending, from 0 to 1.
        thresholds: shape (P,), descending, from infinity.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def trace_roc(scores: NDArray[np.floating], member: NDArray[np.bool_]) -> RocCurve | None:
    """The curve of a score against membership; None unless both kinds are there."""
    if member.all() or not member.any():
        return None
    fpr, tpr, thresholds = roc_curve(member, scores.astype(np.float64))
    return RocCurve(fpr, tpr, thresholds)


def write_roc(path: Path, curve: RocCurve) -> None:
    """One row a point: threshold, false positive rate, true positive rate."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["threshold", "false_positive_rate", "true_positive_rate"])
        for row in zip(
            curve.thresholds, curve.false_positive_rate, curve.true_positive_rate, strict=True
        ):
            writer.writerow([f"{value:.9g}" for value in row])


def find_cut(
    scores: NDArray[np.floating], member: NDArray[np.bool_], *, specificity: float
) -> FixedSpecificity:
    """The lowest threshold whose specificity on these cells is at least the one asked for.

    A cell at or above the threshold is called. The threshold is found on the cells it is then
    measured on, so its specificity is optimistic; intervals are exact and take cells as
    independent.

    Args:
        scores: shape (N,).
        member: shape (N,).
        specificity: asked for, 0–1.
    """
    inside, others = np.sort(scores[member]), np.sort(scores[~member])
    candidates = np.unique(scores)
    false_positives = len(others) - np.searchsorted(others, candidates, side="left")
    allowed = np.floor((1.0 - specificity) * len(others) + 1e-9)
    eligible = candidates[false_positives <= allowed]
    threshold = float(eligible[0]) if len(eligible) else None
    cut = np.inf if threshold is None else threshold
    return FixedSpecificity(
        asked=specificity,
        threshold=threshold,
        sensitivity=describe_proportion(int((inside >= cut).sum()), len(inside)),
        specificity=describe_proportion(int((others < cut).sum()), len(others)),
    )


def describe_proportion(count: int, total: int) -> Proportion:
    """A count of a total with its exact 95 % interval."""
    return Proportion(
        count=count,
        total=total,
        value=count / total if total else None,
        ci95=exact_interval(count, total),
    )
