"""Whether a probability of 0.8 is right eight times in ten."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.evaluation.metrics import ECE_BINS
from models.training.evaluation.operating import describe_proportion
from models.training.evaluation.records import ReliabilityBin

FLOOR: Final = 1e-7
"""Least probability in a log loss: what predictions.csv resolves."""

COLUMNS: Final = (
    *("of", "low", "high", "mean_probability"),
    *("count", "total", "observed", "ci95_low", "ci95_high"),
)


def bin_reliability(
    probability: NDArray[np.floating], happened: NDArray[np.bool_], *, bins: int = ECE_BINS
) -> tuple[ReliabilityBin, ...]:
    """How often what was given a probability happened, in equally wide bins; empty bins left out.

    Args:
        probability: shape (N,), 0–1.
        happened: shape (N,).
        bins: number of them; 1 falls into the last.
    """
    which = np.minimum((probability * bins).astype(int), bins - 1)
    return tuple(
        ReliabilityBin(
            low=float(index / bins),
            high=float((index + 1) / bins),
            mean_probability=float(probability[which == index].mean()),
            observed=describe_proportion(
                int(happened[which == index].sum()), int((which == index).sum())
            ),
        )
        for index in np.unique(which)
    )


def brier_scores(
    probabilities: NDArray[np.floating], truth: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Squared distance of each row to its class's unit vector, shape (N,), 0–2.

    Brier GW. "Verification of forecasts expressed in terms of probability." Mon Weather Rev 78,
    1–3 (1950), equation 2.
    """
    wrong = probabilities.astype(np.float64)
    wrong[np.arange(len(truth)), truth] -= 1.0
    scores: NDArray[np.float64] = (wrong**2).sum(axis=1)
    return scores


def log_losses(
    probabilities: NDArray[np.floating], truth: NDArray[np.intp], nameable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """−ln of the true class's probability, shape (N,); NaN where `nameable` is false."""
    right = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return np.where(nameable, -np.log(np.maximum(right, FLOOR)), np.nan)


def write_reliability(
    path: Path, top_class: Sequence[ReliabilityBin], blast: Sequence[ReliabilityBin]
) -> None:
    """One row a bin with a cell in it."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, bins in (("top_class", top_class), ("blast", blast)):
            for one in bins:
                seen = one.observed
                values: list[float | None] = [one.low, one.high, one.mean_probability]
                values += [seen.count, seen.total]
                values += [seen.value, *(seen.ci95 or ())]
                writer.writerow(
                    [name, *(f"{v:.6f}" if isinstance(v, float) else v for v in values)]
                )
