"""What labels are worth when the unsure ones are left to a person: risk against coverage.

El-Yaniv R, Wiener Y. "On the foundations of noise-free selective classification." J Mach Learn Res
11, 1605–1641 (2010); the score is the label's own probability, as in Hendrycks D, Gimpel K. "A
baseline for detecting misclassified and out-of-distribution examples." ICLR 2017.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import Abstention, RiskPoint

LIMITS: Final = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities the curve is given at."""

ACCURACY: Final = 0.75
"""What the remaining labels should at least be right in, of the source that sets thresholds."""

STEP: Final = 0.05


def trace_risk(top: NDArray[np.floating], hit: NDArray[np.bool_]) -> tuple[RiskPoint, ...]:
    """Coverage and accuracy at each of `LIMITS`.

    Args:
        top: probability of each cell's label, shape (N,), N at least 1.
        hit: whether it is right, shape (N,).
    """
    return tuple(_point(top, hit, limit) for limit in LIMITS)


def choose_abstention(
    top: NDArray[np.floating], hit: NDArray[np.bool_], *, source: str
) -> Abstention:
    """The lowest limit, in steps of 0.05, above which enough labels are right.

    Args:
        top: cross-fitted probability of each label, shape (N,), N at least 1.
        hit: whether it is right, shape (N,).
        source: of the cells.
    """
    points = [_point(top, hit, round(STEP * i, 2)) for i in range(round(1 / STEP))]
    kept = [point for point in points if point.accuracy is not None]
    good = [point for point in kept if (point.accuracy or 0.0) >= ACCURACY]
    chosen = good[0] if good else max(kept, key=lambda point: point.accuracy or 0.0)
    aim = (
        f"the lowest in steps of {STEP:g} above which {ACCURACY:g} of the labels are right"
        if good
        else f"the most accurate in steps of {STEP:g}; {ACCURACY:g} is not reached"
    )
    return Abstention(
        below=chosen.at_least,
        basis=(
            f"{len(top)} validation cells of {source}, each judged by a temperature found without"
            f" its fold: {aim}; {chosen.coverage:.3f} of the cells are above, {chosen.accuracy:.3f}"
            " of them right"
        ),
    )


def _point(top: NDArray[np.floating], hit: NDArray[np.bool_], limit: float) -> RiskPoint:
    kept = top >= limit
    return RiskPoint(
        at_least=limit,
        coverage=float(kept.mean()),
        accuracy=float(hit[kept].mean()) if kept.any() else None,
    )
