import csv

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from models.binomial import exact_interval
from models.training.evaluation.operating import find_cut, trace_roc, write_roc


def make_scores(seed=0, n=400):
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.3
    return np.round(rng.normal(size=n) + 1.5 * member, 2), member


def test_the_curve_runs_from_nothing_called_to_everything_called_and_never_falls():
    scores, member = make_scores()
    curve = trace_roc(scores, member)
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    assert (np.diff(curve.false_positive_rate) >= 0).all()
    assert (np.diff(curve.true_positive_rate) >= 0).all()
    assert (np.diff(curve.thresholds) < 0).all()
    area = auc(curve.false_positive_rate, curve.true_positive_rate)
    assert area == pytest.approx(roc_auc_score(member, scores))


def test_there_is_no_curve_of_one_kind_of_cell():
    assert trace_roc(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert trace_roc(np.array([0.1, 0.2]), np.array([False, False])) is None


def test_the_written_curve_is_the_curve(tmp_path):
    curve = trace_roc(*make_scores())
    write_roc(tmp_path / "roc.csv", curve)
    with (tmp_path / "roc.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    written = [float(row["true_positive_rate"]) for row in rows]
    assert written == pytest.approx(curve.true_positive_rate.tolist())
    assert rows[0]["threshold"] == "inf"


def test_the_cut_is_the_lowest_that_keeps_the_specificity():
    # 20 others at 0.01 … 0.20: at specificity 0.95 one may be called, the one at 0.20.
    others = np.arange(1, 21) / 100
    inside = np.array([0.185, 0.195, 0.205, 0.5])
    scores = np.r_[others, inside]
    member = np.r_[np.zeros(20, bool), np.ones(4, bool)]
    cut = find_cut(scores, member, specificity=0.95)
    assert cut.threshold == 0.195
    assert (cut.sensitivity.count, cut.sensitivity.total) == (3, 4)
    assert (cut.specificity.count, cut.specificity.total) == (19, 20)
    assert cut.sensitivity.ci95 == exact_interval(3, 4)


def test_one_other_cell_fewer_allows_no_false_positive():
    others = np.arange(1, 20) / 100  # 19: a single call would be 94.7 %
    scores, member = np.r_[others, 0.185, 0.5], np.r_[np.zeros(19, bool), True, True]
    cut = find_cut(scores, member, specificity=0.95)
    assert cut.threshold == 0.5
    assert cut.specificity.count == 19


def test_others_tied_at_the_top_leave_no_threshold():
    scores, member = np.array([1.0, 1.0, 1.0, 0.2]), np.array([True, False, False, False])
    cut = find_cut(scores, member, specificity=0.99)
    assert cut.threshold is None
    assert cut.sensitivity.value == 0.0
    assert cut.specificity.value == 1.0


def test_without_members_there_is_no_sensitivity():
    cut = find_cut(np.array([0.1, 0.3]), np.array([False, False]), specificity=0.95)
    assert cut.sensitivity.value is None
    assert cut.sensitivity.ci95 is None
