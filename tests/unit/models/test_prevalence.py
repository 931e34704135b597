import numpy as np
import pytest
from scipy.stats import binom

from models.prevalence import Rate, estimate_share, find_detection_limit, fit_rate

SHARP = 1e6


def known(rate: float) -> Rate:
    """A rate without doubt."""
    return Rate(rate * SHARP, (1 - rate) * SHARP)


def test_with_known_rates_the_estimate_is_rogan_and_gladens():
    # 27 % called = θ · 0.8 + (1 − θ) · 0.1 gives θ = 0.17 / 0.7
    found = estimate_share(540, 2000, sensitivity=known(0.8), specificity=known(0.9))
    assert found.share == pytest.approx(0.17 / 0.7, abs=2e-3)


def test_fewer_calls_than_errors_are_a_share_of_zero_and_its_interval_begins_there():
    found = estimate_share(5, 200, sensitivity=known(0.8), specificity=known(0.95))
    assert found.share == 0
    assert found.interval[0] == 0
    assert 0 < found.interval[1] < 0.1


def test_without_errors_the_interval_is_that_of_the_count():
    found = estimate_share(10, 200, sensitivity=known(1 - 1e-6), specificity=known(1 - 1e-6))
    assert found.share == pytest.approx(0.05, abs=1e-3)
    assert found.interval[0] == pytest.approx(0.025, abs=5e-3)
    assert found.interval[1] == pytest.approx(0.088, abs=5e-3)


def test_doubt_about_the_rates_widens_the_interval():
    sharp = estimate_share(60, 200, sensitivity=known(0.8), specificity=known(0.95))
    vague = estimate_share(60, 200, sensitivity=Rate(8, 2), specificity=Rate(19, 1))
    assert vague.interval[0] < sharp.interval[0] < sharp.interval[1] < vague.interval[1]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    sensitivity, specificity = Rate(16, 4), Rate(38, 2)
    held = 0
    for _ in range(60):
        share = rng.uniform()
        s, c = rng.beta(16, 4), rng.beta(38, 2)
        called = int(rng.binomial(150, share * s + (1 - share) * (1 - c)))
        low, high = estimate_share(
            called, 150, sensitivity=sensitivity, specificity=specificity
        ).interval
        held += low - 5e-4 <= share <= high + 5e-4
    # 95 % of 60 are 57 ± 1.7
    assert held >= 52


def test_the_limits_of_known_rates_are_those_of_the_binomial():
    limit = find_detection_limit(200, sensitivity=known(0.8), specificity=known(0.95))
    assert limit.blank == binom.ppf(0.95, 200, 0.05)
    assert limit.share is not None
    called = limit.share * 0.8 + (1 - limit.share) * 0.05
    assert binom.sf(limit.blank, 200, called) >= 0.95
    fewer = called - 0.001 * 0.75
    assert binom.sf(limit.blank, 200, fewer) < 0.951


def test_a_test_that_tells_nothing_detects_nothing():
    assert find_detection_limit(50, sensitivity=known(0.1), specificity=known(0.9)).share is None


def test_a_rate_over_many_like_patients_is_sharp_and_over_unlike_ones_is_not():
    totals = np.full(30, 40)
    like = fit_rate(np.full(30, 32), totals)
    unlike = fit_rate(np.where(np.arange(30) % 2, 36, 28), totals)
    assert like.mean == pytest.approx(0.8, abs=0.01)
    assert unlike.mean == pytest.approx(0.8, abs=0.03)
    assert like.alpha + like.beta > 2 * (unlike.alpha + unlike.beta)


def test_few_patients_leave_doubt():
    one = fit_rate(np.array([19]), np.array([20]))
    ten = fit_rate(np.full(10, 19), np.full(10, 20))
    assert one.alpha + one.beta < ten.alpha + ten.beta


@pytest.mark.parametrize(("hits", "totals"), [([3], [2]), ([0], [0]), ([-1], [2])])
def test_counts_that_cannot_be_are_refused(hits: list[int], totals: list[int]):
    with pytest.raises(ValueError, match="make no rate"):
        fit_rate(np.array(hits), np.array(totals))


@pytest.mark.parametrize(("called", "total"), [(3, 2), (-1, 2), (0, 0)])
def test_a_count_that_cannot_be_is_refused(called: int, total: int):
    with pytest.raises(ValueError, match="not a count"):
        estimate_share(called, total, sensitivity=known(0.8), specificity=known(0.9))
