"""Medians, and how far they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its 95 % interval by bootstrap."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """The farther end of the interval from the median, as a share of the median."""
        if not self.median:
            return 0.0
        return max(self.high - self.median, self.median - self.low) / abs(self.median)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def measure_spread(values: Sequence[float]) -> Spread:
    """Median of at least one value and its interval; the same values give the same interval."""
    data = np.asarray(values, np.float64)
    draws = np.random.default_rng(0).integers(0, len(data), (RESAMPLES, len(data)))
    low, high = np.percentile(np.median(data[draws], axis=1), [2.5, 97.5])
    return Spread(float(np.median(data)), float(low), float(high))


def pair_ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """`values` over `others`, round by round."""
    return [value / other for value, other in zip(values, others, strict=True)]
