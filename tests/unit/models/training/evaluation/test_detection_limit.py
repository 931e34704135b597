from math import comb

import numpy as np
import pytest

from models.training.evaluation.detection_limit import limit_of_detection, limits_of_cut
from models.training.evaluation.operating import find_cut


def more_than(k: int, n: int, p: float) -> float:
    return 1 - sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def test_the_limit_of_blank_is_the_95th_percentile_of_a_count_without_blasts():
    # Binomial(10, 0.1): P(≤ 2) = 0.930, P(≤ 3) = 0.987.
    assert limit_of_detection(0.9, 0.9, cells=10).blank == 3
    # Binomial(20, 0.05): P(≤ 2) = 0.925, P(≤ 3) = 0.984.
    assert limit_of_detection(0.9, 0.95, cells=20).blank == 3


def test_a_perfect_classifier_needs_one_blast_in_the_count():
    # 1 − (1 − p)^n = 0.95.
    limit = limit_of_detection(1.0, 1.0, cells=1000)
    assert limit.blank == 0
    assert limit.fraction == pytest.approx(1 - 0.05 ** (1 / 1000))


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "cells"), [(0.9, 0.99, 1000), (0.7, 0.95, 200), (0.6, 0.8, 100)]
)
def test_at_the_limit_the_count_exceeds_the_blank_with_probability_95_percent(
    sensitivity, specificity, cells
):
    limit = limit_of_detection(sensitivity, specificity, cells=cells)
    blank_rate = 1 - specificity
    assert more_than(limit.blank, cells, blank_rate) <= 0.05
    assert more_than(limit.blank - 1, cells, blank_rate) > 0.05

    def detected(prevalence):
        called = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
        return more_than(limit.blank, cells, called)

    assert detected(limit.fraction) == pytest.approx(0.95, abs=1e-9)
    assert detected(limit.fraction * 0.99) < 0.95


def test_a_classifier_no_better_than_a_coin_detects_nothing():
    assert limit_of_detection(0.2, 0.8).fraction is None


def test_a_count_too_small_to_exceed_its_blank_detects_nothing():
    # Two cells, both called in most counts of blasts; blank is 1, both called with 0.81 at most.
    limit = limit_of_detection(0.9, 0.9, cells=2)
    assert limit.blank == 1
    assert limit.fraction is None


@pytest.mark.parametrize(("sensitivity", "cells"), [(1.1, 10), (0.9, 0)])
def test_rates_beyond_one_and_empty_counts_are_refused(sensitivity, cells):
    with pytest.raises(ValueError, match="make no count"):
        limit_of_detection(sensitivity, 0.9, cells=cells)


def test_the_unfavourable_limit_takes_the_lower_ends_of_both_intervals():
    rng = np.random.default_rng(0)
    member = np.arange(500) < 150
    cut = find_cut(rng.normal(size=500) + 3 * member, member, specificity=0.99)
    limits = limits_of_cut(cut)
    assert limits.unfavourable.sensitivity == cut.sensitivity.ci95[0]
    assert limits.unfavourable.specificity == cut.specificity.ci95[0]
    assert limits.unfavourable.fraction > limits.point.fraction


def test_without_blasts_there_is_no_limit():
    assert limits_of_cut(find_cut(np.array([0.1]), np.array([False]), specificity=0.9)) is None
