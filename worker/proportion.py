"""A part of a whole in percent, with its exact confidence interval."""

from models.binomial import exact_interval

PERCENT_DECIMALS = 4
"""One cell in a million is still not zero."""


def percent_of(count: int, total: int) -> float | None:
    """100 · count / total, %, rounded; None of nothing."""
    return round(100 * count / total, PERCENT_DECIMALS) if total else None


def clopper_pearson(count: int, total: int) -> tuple[float, float] | None:
    """Exact binomial 95 % interval of a percentage, %, rounded; None of nothing.

    Raises:
        ValueError: not 0 ≤ count ≤ total.
    """
    interval = exact_interval(count, total)
    if interval is None:
        return None
    lower, upper = interval
    return round(100 * lower, PERCENT_DECIMALS), round(100 * upper, PERCENT_DECIMALS)
