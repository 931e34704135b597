"""The true share of a group among counted cells, when the classifier that counts them errs.

Of a slide's n cells, x are called. A cell of the group is called with probability s (sensitivity),
another with 1 − c (c: specificity), so that a share θ gives x ~ Binomial(n, θ s + (1 − θ)(1 − c)).
Rogan WJ, Gladen B. "Estimating prevalence from the results of a screening test." Am J Epidemiol
107, 71–76 (1978) solve that for θ; their estimate leaves 0–1 and takes s and c as known. Here s and
c are those of a patient not seen before, and have distributions: a Beta over patients, found on
validation patients, as in Gelman A, Carpenter B. "Bayesian analysis of tests with unknown
specificity and sensitivity." J R Stat Soc C 69, 1269–1283 (2020).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, xlog1py, xlogy

NODES: Final = 24
"""Equally probable values that stand for a rate's distribution."""
SHARES: Final = 1001
"""Values of θ looked at: steps of 0.1 %."""
MASS: Final = 0.95
"""Of an interval; also 1 − α and 1 − β of the limits of blank and of detection."""

_MEANS: Final = 199
_SPREADS: Final = 60
_LARGEST: Final = 1e3
"""Concentration beyond which patients are taken as alike."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Beta distribution of a sensitivity or specificity over patients.

    Attributes:
        alpha, beta: above 0; alpha / (alpha + beta) is the mean.
    """

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        """Over patients, 0–1."""
        return self.alpha / (self.alpha + self.beta)

    def nodes(self) -> NDArray[np.float64]:
        """`NODES` equally probable values, ascending."""
        at: NDArray[np.float64] = betaincinv(
            self.alpha, self.beta, (np.arange(NODES) + 0.5) / NODES
        )
        return at


@dataclass(frozen=True, slots=True)
class ShareEstimate:
    """What a count says of the true share.

    Attributes:
        share: the most probable, 0–1.
        interval: shortest that holds 95 % of the probability, 0–1; it begins at 0 where 0 cannot
            be told from the estimate.
    """

    share: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DetectionLimit:
    """CLSI EP17-A2 (2012) for a count of n cells of a new patient, α = β = 0.05.

    Attributes:
        blank: limit of blank: without a single cell of the group, no more than so many cells are
            called in 95 of 100 patients.
        share: limit of detection: the least true share, 0–1, at which more than `blank` cells are
            called in 95 of 100 patients; None: no share gives that.
    """

    blank: int
    share: float | None


def fit_rate(hits: NDArray[np.integer], totals: NDArray[np.integer]) -> Rate:
    """The rate of a patient not seen before, from the counts of some patients.

    Beta-binomial with a uniform prior on the mean and the uniform-shrinkage prior, density
    z / (z + κ)², on the concentration κ = alpha + beta, z the patients' median number of cells
    (Christiansen CL, Morris CN. "Hierarchical Poisson regression modeling." J Am Stat Assoc 92,
    618–632, 1997). Posterior on a grid; what comes back is the Beta of the predictive
    distribution's mean and variance, so the doubt that few patients leave is in it.

    Args:
        hits: right calls of each patient, shape (P,).
        totals: cells of each patient, shape (P,); patients without a cell do not matter.

    Raises:
        ValueError: there is no cell, or a patient has more hits than cells.
    """
    if (hits > totals).any() or (hits < 0).any() or not totals.sum():
        raise ValueError(f"{hits} right calls of {totals} make no rate")
    means = (np.arange(_MEANS) + 0.5) / _MEANS
    spread = np.logspace(0.0, np.log10(_LARGEST), _SPREADS)
    alpha = means[:, None] * spread
    beta = (1.0 - means)[:, None] * spread
    typical = float(np.median(totals[totals > 0]))
    # prior density in log κ: κ / (z + κ)²
    log_posterior = np.log(spread) - 2.0 * np.log(typical + spread) + np.zeros_like(alpha)
    for hit, total in zip(hits, totals, strict=True):
        log_posterior += betaln(alpha + hit, beta + total - hit) - betaln(alpha, beta)
    weight = np.exp(log_posterior - log_posterior.max())
    weight /= weight.sum()
    mean = float((weight * means[:, None]).sum())
    second = means[:, None] * (1.0 - means[:, None]) / (1.0 + spread) + means[:, None] ** 2
    variance = float((weight * second).sum()) - mean**2
    concentration = mean * (1.0 - mean) / variance - 1.0
    return Rate(mean * concentration, (1.0 - mean) * concentration)


def estimate_share(
    called: int, total: int, *, sensitivity: Rate, specificity: Rate
) -> ShareEstimate:
    """The true share of a group, every share taken as equally likely before.

    Raises:
        ValueError: not 0 ≤ called ≤ total, or total is 0.
    """
    if not 0 <= called <= total or total == 0:
        raise ValueError(f"{called} of {total} is not a count")
    shares = np.linspace(0.0, 1.0, SHARES)
    probability = _call_probability(shares, sensitivity, specificity)
    likelihood = xlogy(called, probability) + xlog1py(total - called, -probability)
    weight = np.exp(likelihood - likelihood.max()).sum(axis=(1, 2))
    weight /= weight.sum()
    low, high = _shortest(weight)
    return ShareEstimate(float(shares[weight.argmax()]), (float(shares[low]), float(shares[high])))


def find_detection_limit(total: int, *, sensitivity: Rate, specificity: Rate) -> DetectionLimit:
    """What a count of so many cells can tell from none.

    Raises:
        ValueError: total is below 1.
    """
    if total < 1:
        raise ValueError(f"a count of {total} cells has no limit of detection")
    false = (1.0 - specificity.nodes())[None, :]
    blank = _least(total, false)
    low, high = 0, SHARES - 1
    if _exceeds(total, blank, np.ones(1), sensitivity, specificity)[0] < MASS:
        return DetectionLimit(blank, None)
    while low < high:
        middle = (low + high) // 2
        share = np.array([middle / (SHARES - 1)])
        if _exceeds(total, blank, share, sensitivity, specificity)[0] >= MASS:
            high = middle
        else:
            low = middle + 1
    return DetectionLimit(blank, high / (SHARES - 1))


def _least(total: int, false: NDArray[np.float64]) -> int:
    """The fewest calls that are not exceeded with probability MASS, over a rate's nodes."""
    low, high = 0, total
    while low < high:
        middle = (low + high) // 2
        if _tail(total, middle, false).mean() <= 1.0 - MASS:
            high = middle
        else:
            low = middle + 1
    return low


def _exceeds(
    total: int, blank: int, shares: NDArray[np.float64], sensitivity: Rate, specificity: Rate
) -> NDArray[np.float64]:
    """P(more than `blank` calls) at each share, over both rates."""
    probability = _call_probability(shares, sensitivity, specificity)
    exceeded: NDArray[np.float64] = _tail(total, blank, probability).mean(axis=(1, 2))
    return exceeded


def _tail(total: int, blank: int, probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(X > blank) of Binomial(total, p): Beta(blank + 1, total − blank)'s distribution at p."""
    if blank >= total:
        return np.zeros_like(probability)
    tail: NDArray[np.float64] = betainc(blank + 1, total - blank, probability)
    return tail


def _call_probability(
    shares: NDArray[np.float64], sensitivity: Rate, specificity: Rate
) -> NDArray[np.float64]:
    """Of a cell, shape (shares, NODES, NODES)."""
    inside = sensitivity.nodes()[None, :, None]
    outside = 1.0 - specificity.nodes()[None, None, :]
    share = shares[:, None, None]
    probability: NDArray[np.float64] = share * inside + (1.0 - share) * outside
    return probability


def _shortest(weight: NDArray[np.float64]) -> tuple[int, int]:
    """First and last index of the shortest run that holds MASS."""
    below = np.concatenate([[0.0], np.cumsum(weight)])
    ends = np.searchsorted(below, below[:-1] + MASS - 1e-12)
    starts = np.flatnonzero(ends < len(below))
    best = starts[(ends[starts] - starts).argmin()]
    return int(best), int(ends[best] - 1)
