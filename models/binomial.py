"""Exact confidence intervals of a proportion."""

from scipy.special import betaincinv


def exact_interval(count: int, total: int) -> tuple[float, float] | None:
    """Exact binomial 95 % interval of count / total, as fractions; None of nothing.

    Clopper CJ, Pearson ES. "The use of confidence or fiducial limits illustrated in the case of
    the binomial." Biometrika 26, 404–413 (1934): the 2.5 % quantile of Beta(k, n − k + 1) and the
    97.5 % quantile of Beta(k + 1, n − k); 0 and 1 at the ends.

    Raises:
        ValueError: not 0 ≤ count ≤ total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is not a proportion")
    if total == 0:
        return None
    lower = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, 0.025))
    upper = 1.0 if count == total else float(betaincinv(count + 1, total - count, 0.975))
    return lower, upper
