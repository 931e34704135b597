from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from models.taxonomy import BLAST
from models.training.evaluation.bootstrap import (
    auc_statistic,
    bootstrap,
    class_statistic,
    mean_statistic,
    percentile_interval,
    plan_units,
)
from models.training.evaluation.metrics import group_auc, group_probability
from tests.crossvals import make_cells, predict


def test_patients_go_before_groups_and_groups_before_cells():
    a, b, c, d = make_cells(4)
    cells = [
        replace(a, source="x", patient="p1", group="g"),
        replace(b, source="x", patient="p1", group="h"),
        replace(c, source="x", patient="", group="g"),
        replace(d, source="x", patient="", group=""),
    ]
    units = plan_units(cells)
    assert units.kinds == {"patients": 1, "groups": 1, "cells": 1}
    assert units.of_cell.tolist() == [0, 0, 1, 2]


def test_patients_of_one_name_in_two_sources_are_two_people():
    a, b = make_cells(2)
    cells = [replace(a, source="x", patient="p1"), replace(b, source="y", patient="p1")]
    assert plan_units(cells).kinds == {"patients": 2}


def test_every_replicate_draws_as_many_units_of_each_source_as_it_has():
    cells = make_cells(60)
    units = plan_units(cells)
    first, second = units.strata

    def count(weights):
        return {"first": weights[:, first].sum(axis=1), "second": weights[:, second].sum(axis=1)}

    drawn = bootstrap(units, [count], replicates=130, seed=0)
    assert drawn["first"].tolist() == [12.0] * 130
    assert drawn["second"].tolist() == [20.0] * 130


def test_weighted_auc_is_that_of_the_cells_repeated_ties_counted_half():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 6, 80) / 10
    member = rng.random(80) < 0.4
    of_cell = rng.integers(0, 9, 80)
    weights = rng.integers(0, 4, (7, 9)).astype(float)
    got = auc_statistic("auc", scores, member, of_cell)(weights)["auc"]
    for row, value in zip(weights.astype(int), got, strict=True):
        repeats = row[of_cell]
        expected = roc_auc_score(np.repeat(member, repeats), np.repeat(scores, repeats))
        assert value == pytest.approx(expected, abs=1e-12)


def test_auc_of_a_replicate_with_one_kind_is_undefined():
    statistic = auc_statistic(
        "auc", np.array([0.1, 0.9]), np.array([False, True]), np.array([0, 1])
    )
    got = statistic(np.array([[2.0, 0.0], [1.0, 1.0]]))["auc"]
    assert np.isnan(got[0])
    assert got[1] == 1.0


def test_class_figures_are_those_of_the_cells_repeated():
    rng = np.random.default_rng(6)
    truth, predicted = rng.integers(0, 4, 90), rng.integers(0, 4, 90)
    of_cell = np.arange(90) // 5
    weights = rng.integers(0, 3, (5, 18)).astype(float)
    statistic = class_statistic(truth, predicted, of_cell, averaged=[0, 1, 2, 3], classes=4)
    got = statistic(weights)
    for i, row in enumerate(weights.astype(int)):
        t, p = np.repeat(truth, row[of_cell]), np.repeat(predicted, row[of_cell])
        assert got["accuracy"][i] == pytest.approx((t == p).mean())
        assert got["balanced_accuracy"][i] == pytest.approx(balanced_accuracy_score(t, p))
        assert got["macro_f1"][i] == pytest.approx(f1_score(t, p, average="macro"))


def test_a_class_not_drawn_leaves_the_mean_over_classes():
    truth, predicted, of_cell = np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0, 0, 1])
    statistic = class_statistic(truth, predicted, of_cell, averaged=[0, 1], classes=2)
    got = statistic(np.array([[1.0, 1.0], [1.0, 0.0]]))
    assert got["balanced_accuracy"].tolist() == [0.25, 0.5]


def test_a_mean_leaves_undefined_cells_out():
    statistic = mean_statistic("loss", np.array([1.0, np.nan, 4.0]), np.array([0, 0, 1]))
    got = statistic(np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 0.0]]))["loss"]
    assert got[:2].tolist() == [2.5, 2.0]
    assert np.isnan(got[2])


def test_the_percentile_interval_leaves_undefined_replicates_out():
    values = np.r_[np.arange(101.0), np.nan]
    assert percentile_interval(values) == pytest.approx((2.5, 97.5))
    assert percentile_interval(np.array([np.nan])) is None


def auc_interval(cells, said, *, seed=3):
    units = plan_units(cells)
    member = np.array([cell.label in BLAST for cell in cells])
    scores = group_probability(said.probabilities, BLAST)
    statistic = auc_statistic("auc", scores, member, units.of_cell)
    values = bootstrap(units, [statistic], replicates=1000, seed=seed)["auc"]
    return percentile_interval(values)


def test_the_interval_is_wider_by_patient_when_patients_are_coherent():
    cells = [cell for cell in make_cells(1500) if cell.patient]
    said = predict(cells, separation=2.0, seed=1, patient_effect=2.0)
    by_patient = auc_interval(cells, said)
    by_cell = auc_interval([replace(cell, patient="") for cell in cells], said)
    auc = group_auc(said.probabilities, said.labels, BLAST)
    assert by_patient[0] < auc < by_patient[1]
    assert by_cell[0] < auc < by_cell[1]
    assert by_patient[1] - by_patient[0] > 1.5 * (by_cell[1] - by_cell[0])


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    cells = make_cells(90)
    said = predict(cells, separation=1.0, seed=1)
    assert auc_interval(cells, said, seed=4) == auc_interval(cells, said, seed=4)
    assert auc_interval(cells, said, seed=4) != auc_interval(cells, said, seed=5)
