from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from models.taxonomy import ATYPICAL, BLAST, CODES, INDEX, CellClass
from models.training.evaluation.cell_figures import Part, measure_cells
from models.training.evaluation.metrics import group_probability
from tests.crossvals import CLASSES, make_cells, predict

UNSEEN = frozenset(CODES) - frozenset(CLASSES)


def make_parts(*, leak=0.0, separation=2.0, unsupported=UNSEEN):
    cells = make_cells()
    parts = []
    for number in (1, 2, 3):
        mine = [cell for cell in cells if cell.fold == number]
        parts.append(
            Part(
                predict(mine, separation=separation, seed=number),
                predict(mine, separation=leak, seed=100 + number),
                unsupported,
            )
        )
    return parts


@pytest.fixture(scope="module")
def parts():
    return make_parts()


@pytest.fixture(scope="module")
def figures(parts):
    return measure_cells(parts, replicates=500, seed=1)


def join(parts):
    said = np.concatenate([part.predictions.probabilities for part in parts])
    labels = [label for part in parts for label in part.predictions.labels]
    return said, labels, np.array([INDEX[label] for label in labels])


def test_pooled_figures_are_scikit_learns(parts, figures):
    said, labels, truth = join(parts)
    called = said.argmax(axis=1)
    for group, figure in ((BLAST, figures.blast_auc), (ATYPICAL, figures.atypical_auc)):
        member = [label in group for label in labels]
        assert figure.value == pytest.approx(roc_auc_score(member, group_probability(said, group)))
    assert figures.accuracy.value == pytest.approx(accuracy_score(truth, called))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(truth, called)
    assert figures.balanced_accuracy.value == pytest.approx(expected)
    f1 = f1_score(truth, called, labels=[INDEX[c] for c in CLASSES], average="macro")
    assert figures.macro_f1.value == pytest.approx(f1)
    exact = said.astype(np.float64)
    loss = log_loss(truth, exact / exact.sum(axis=1, keepdims=True), labels=range(15))
    assert figures.calibration.log_loss.value == pytest.approx(loss, rel=1e-5)


def test_mean_and_sd_are_of_the_folds_own_figures(parts, figures):
    aucs = []
    for part in parts:
        said, labels, _ = join([part])
        member = [label in BLAST for label in labels]
        aucs.append(roc_auc_score(member, group_probability(said, BLAST)))
    assert figures.blast_auc.folds == pytest.approx(aucs)
    mean = sum(aucs) / 3
    assert figures.blast_auc.fold_mean == pytest.approx(mean)
    sd = (sum((auc - mean) ** 2 for auc in aucs) / 2) ** 0.5
    assert figures.blast_auc.fold_sd == pytest.approx(sd)


def test_every_cell_is_counted_once(parts, figures):
    _, labels, _ = join(parts)
    rows = {code: sum(figures.confusion[INDEX[code]]) for code in CODES}
    assert {code: n for code, n in rows.items() if n} == Counter(labels) == figures.support
    assert figures.n == sum(rows.values()) == 300
    for bins in (figures.calibration.top_class, figures.calibration.blast):
        assert sum(one.observed.total for one in bins) == 300


def test_bootstrap_intervals_hold_their_estimates(figures):
    calibration = figures.calibration
    for figure in (
        figures.accuracy,
        figures.balanced_accuracy,
        figures.macro_f1,
        figures.blast_auc,
        figures.atypical_auc,
        calibration.brier,
        calibration.log_loss,
    ):
        assert figure.ci95[0] < figure.value < figure.ci95[1]


def test_the_units_are_counted_by_kind(figures):
    assert figures.units == {"patients": 12, "cells": 100}
    assert figures.patients == 12


def test_a_control_that_knows_nothing_has_one_half_inside_its_intervals(figures):
    control = figures.background
    assert control.blast_auc.ci95[0] < 0.5 < control.blast_auc.ci95[1]
    assert control.atypical_auc.ci95[0] < 0.5 < control.atypical_auc.ci95[1]
    assert control.chance_balanced_accuracy == 1 / 5


def test_a_control_that_leaks_has_not():
    control = measure_cells(make_parts(leak=1.5), replicates=500, seed=1).background
    assert control.blast_auc.ci95[0] > 0.5
    assert control.atypical_auc.ci95[0] > 0.5
    assert control.balanced_accuracy.ci95[0] > control.chance_balanced_accuracy


def test_blasts_have_a_limit_of_detection_and_atypical_cells_none(figures):
    assert [(cut.group, cut.cut.asked) for cut in figures.cuts] == [
        ("blast", 0.99),
        ("blast", 0.95),
        ("atypical", 0.99),
        ("atypical", 0.95),
    ]
    assert [cut.detection is None for cut in figures.cuts] == [False, False, True, True]
    for cut in figures.cuts:
        assert cut.cut.specificity.value >= cut.cut.asked


def test_a_class_no_network_can_name_is_left_out_of_means_and_log_loss(parts):
    blind = [replace(part, unsupported=UNSEEN | {CellClass.MON}) for part in parts]
    figures = measure_cells(blind, replicates=100, seed=1)
    assert CellClass.MON not in figures.averaged
    recalls = [row.sensitivity.pooled.value for row in figures.classes if row.code in CLASSES[:3]]
    recalls += [figures.classes[INDEX[CellClass.NGS]].sensitivity.pooled.value]
    assert figures.balanced_accuracy.value == pytest.approx(np.mean(recalls))
    assert figures.calibration.log_loss_cells == 300 - figures.support[CellClass.MON]


def test_a_class_one_network_knows_stays_in_the_pooled_means(parts):
    mixed = [replace(parts[0], unsupported=UNSEEN | {CellClass.MON}), *parts[1:]]
    figures = measure_cells(mixed, replicates=100, seed=1)
    assert CellClass.MON in figures.averaged


def test_a_source_without_blasts_has_no_blast_auc_and_says_so(parts):
    figures = measure_cells(
        [part.of_source("blood bank") for part in parts], replicates=100, seed=1
    )
    assert figures.blast_auc.value is figures.blast_auc.ci95 is figures.blast_auc.fold_mean is None
    assert figures.atypical_auc.value is not None
    assert figures.background.blast_auc.value is None


def test_one_patient_gives_figures_without_intervals(parts):
    cells = [replace(cell, patient="p", source="x") for cell in make_cells(40)]
    part = Part(predict(cells, separation=2.0, seed=1), None, UNSEEN)
    figures = measure_cells([part], replicates=100, seed=1)
    assert figures.blast_auc.value is not None
    assert figures.blast_auc.ci95 is None
    assert figures.blast_auc.fold_sd is None
    assert figures.background is None


def test_a_source_of_unreadable_cells_only_has_no_figures_and_no_error(parts):
    empty = parts[0].of_source("nowhere")
    empty.predictions.unreadable["nowhere"] = 3
    figures = measure_cells([empty], replicates=100, seed=1)
    assert (figures.n, figures.unreadable) == (0, 3)
    assert figures.accuracy.value is figures.calibration.brier.value is None
    assert figures.calibration.top_class == ()
