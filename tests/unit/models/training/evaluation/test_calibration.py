import csv

import numpy as np
import pytest

from models.training.evaluation.calibration import (
    bin_reliability,
    brier_scores,
    log_losses,
    write_reliability,
)
from models.training.evaluation.metrics import expected_calibration_error


def test_bins_hold_every_cell_once_and_empty_ones_are_left_out():
    bins = bin_reliability(np.array([0.0, 0.05, 0.1, 0.95, 1.0]), np.array([0, 1, 1, 1, 1], bool))
    assert [(round(b.low, 3), b.observed.count, b.observed.total) for b in bins] == [
        (0.0, 1, 2),
        (0.067, 1, 1),
        (0.933, 2, 2),
    ]
    assert bins[0].mean_probability == pytest.approx(0.025)


def test_the_bins_add_up_to_the_calibration_error():
    rng = np.random.default_rng(2)
    confidence = rng.random(500).astype(np.float32)
    hit = rng.random(500) < confidence**2
    gaps = [
        b.observed.total / 500 * abs(b.observed.value - b.mean_probability)
        for b in bin_reliability(confidence, hit)
    ]
    assert sum(gaps) == pytest.approx(expected_calibration_error(confidence, hit), abs=1e-6)


def test_brier_scores_are_squared_distances_to_the_true_corner():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], np.float32)
    scores = brier_scores(probabilities, np.array([0, 2, 1]))
    assert scores == pytest.approx([0.09 + 0.04 + 0.01, 0.0, 2.0])


def test_log_loss_is_bounded_and_undefined_for_a_class_the_network_cannot_name():
    probabilities = np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]], np.float32)
    losses = log_losses(probabilities, np.array([0, 0, 0]), np.array([True, True, False]))
    assert losses[:2] == pytest.approx([np.log(2), -np.log(1e-7)])
    assert np.isnan(losses[2])


def test_the_csv_holds_the_bins_of_both_diagrams(tmp_path):
    bins = bin_reliability(np.array([0.2, 0.9]), np.array([True, False]))
    write_reliability(tmp_path / "r.csv", bins, bins[:1])
    with (tmp_path / "r.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["of"] for row in rows] == ["top_class", "top_class", "blast"]
    assert (rows[0]["count"], rows[0]["total"], rows[0]["observed"]) == ("1", "1", "1.000000")
    assert rows[0]["ci95_low"] == "0.025000"
