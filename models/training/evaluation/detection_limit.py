"""How few blasts a differential count can tell from none, at a classifier's threshold.

CLSI EP17-A2, "Evaluation of detection capability for clinical laboratory measurement procedures"
(2012): the limit of blank is the 95th percentile of results without the measurand, the limit of
detection the least true amount whose result exceeds it with probability 0.95 (α = β = 0.05).
"""

from typing import Final

from scipy.special import betaincinv
from scipy.stats import binom

from models.training.evaluation.records import DetectionLimit, FixedSpecificity, LimitOfDetection

CELLS: Final = 1000
"""Of a count."""

CONFIDENCE: Final = 0.95


def limit_of_detection(
    sensitivity: float, specificity: float, *, cells: int = CELLS
) -> DetectionLimit:
    """Limit of blank and of detection of blasts among counted cells.

    Of n counted cells, each is called a blast with p = prevalence · sensitivity +
    (1 − prevalence)(1 − specificity), independently, with the same two figures in every patient. A
    blood without blasts gives Binomial(n, 1 − specificity) calls.

    Args:
        sensitivity: 0–1.
        specificity: 0–1.
        cells: n, at least 1.

    Returns:
        `blank`, in cells called, and `fraction`, the true share of blasts from which on more than
        `blank` cells are called with probability 0.95; None if not even 100 % blasts give that.

    Raises:
        ValueError: a rate is outside 0–1 or there is no cell.
    """
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1) or cells < 1:
        raise ValueError(f"rates {sensitivity}, {specificity} and {cells} cells make no count")
    blank = int(binom.ppf(CONFIDENCE, cells, 1.0 - specificity))
    return DetectionLimit(
        sensitivity=sensitivity,
        specificity=specificity,
        cells=cells,
        blank=blank,
        fraction=_least_fraction(sensitivity, specificity, cells=cells, blank=blank),
    )


def limits_of_cut(cut: FixedSpecificity, *, cells: int = CELLS) -> LimitOfDetection | None:
    """At a cut's figures, and at the lower ends of both exact intervals; None without cells."""
    if cut.sensitivity.ci95 is None or cut.specificity.ci95 is None:
        return None
    assert cut.sensitivity.value is not None and cut.specificity.value is not None
    return LimitOfDetection(
        point=limit_of_detection(cut.sensitivity.value, cut.specificity.value, cells=cells),
        unfavourable=limit_of_detection(
            cut.sensitivity.ci95[0], cut.specificity.ci95[0], cells=cells
        ),
    )


def _least_fraction(
    sensitivity: float, specificity: float, *, cells: int, blank: int
) -> float | None:
    gain = sensitivity + specificity - 1.0
    if gain <= 0 or blank >= cells:
        return None
    # P(X > k) of Binomial(n, p) is the Beta(k + 1, n − k) distribution function at p.
    called = float(betaincinv(blank + 1, cells - blank, CONFIDENCE))
    fraction = (called - (1.0 - specificity)) / gain
    return fraction if fraction <= 1.0 else None
