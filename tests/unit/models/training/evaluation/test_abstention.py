import numpy as np
import pytest

from models.training.evaluation.abstention import ACCURACY, choose_abstention, trace_risk


def test_the_curve_counts_cells_at_the_limit():
    top = np.array([0.2, 0.3, 0.6, 0.95])
    hit = np.array([False, False, True, True])
    points = {point.at_least: point for point in trace_risk(top, hit)}
    assert (points[0.0].coverage, points[0.0].accuracy) == (1.0, 0.5)
    assert (points[0.3].coverage, points[0.3].accuracy) == (0.75, pytest.approx(2 / 3))
    assert (points[0.4].coverage, points[0.4].accuracy) == (0.5, 1.0)


def test_no_cell_above_a_limit_has_no_accuracy():
    points = trace_risk(np.array([0.5]), np.array([True]))
    assert points[-1].coverage == 0
    assert points[-1].accuracy is None


def test_the_lowest_sufficient_limit_is_chosen():
    top = np.repeat([0.32, 0.52, 0.72], 100)
    hit = np.concatenate([np.arange(100) < n for n in (40, 70, 90)])
    chosen = choose_abstention(top, hit, source="lab")
    # at 0.35 the rest is right in 160 of 200, at 0.3 in 200 of 300
    assert chosen.below == 0.35
    assert "0.800 of them right" in chosen.basis


def test_labels_that_are_never_good_enough_are_said_to_be_so():
    top = np.repeat([0.3, 0.6], 50)
    hit = np.concatenate([np.zeros(50, bool), np.arange(50) < 20])
    chosen = choose_abstention(top, hit, source="lab")
    assert chosen.below == 0.35
    assert f"{ACCURACY:g} is not reached" in chosen.basis
