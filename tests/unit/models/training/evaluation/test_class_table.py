import csv

import numpy as np
import pytest

from models.binomial import exact_interval
from models.taxonomy import CODES, INDEX, CellClass
from models.training.evaluation.class_table import (
    count_confusion,
    format_class_table,
    spread,
    tabulate_classes,
    write_class_table,
)

LYT, MON, NGS = INDEX[CellClass.LYT], INDEX[CellClass.MON], INDEX[CellClass.NGS]


def confusion(*pairs):
    truth, predicted = np.array([p[:2] for p in pairs for _ in range(p[2])]).T
    return count_confusion(truth, predicted)


FOLDS = [
    confusion((LYT, LYT, 8), (LYT, NGS, 2), (NGS, NGS, 10)),
    confusion((LYT, LYT, 6), (LYT, NGS, 4), (NGS, NGS, 9), (NGS, LYT, 1)),
    confusion((NGS, NGS, 5), (MON, NGS, 5)),
]


@pytest.fixture
def rows():
    return {row.code: row for row in tabulate_classes(FOLDS)}


def test_rows_of_the_confusion_matrix_are_the_true_classes():
    assert FOLDS[0][LYT, NGS] == 2
    assert FOLDS[0][NGS, LYT] == 0
    assert np.sum(FOLDS, axis=0).sum(axis=1)[[LYT, MON, NGS]].tolist() == [20, 5, 25]


def test_mean_and_sd_are_over_the_folds_that_have_the_class(rows):
    # Sensitivity of LYT: 8/10, 6/10, none. Mean 0.7, sd √((0.1² + 0.1²) / 1) = 0.1414.
    rate = rows[CellClass.LYT].sensitivity
    assert rate.folds == (0.8, 0.6, None)
    assert rate.fold_mean == pytest.approx(0.7)
    assert rate.fold_sd == pytest.approx(0.02**0.5)


def test_precision_and_specificity_are_what_they_are_by_hand(rows):
    # NGS called in 12, 13, 10 cells, rightly in 10, 9, 5.
    assert rows[CellClass.NGS].precision.folds == pytest.approx((10 / 12, 9 / 13, 5 / 10))
    # Not NGS: 10, 10, 5 cells, of which 8, 6, 0 were not called NGS.
    assert rows[CellClass.NGS].specificity.folds == pytest.approx((0.8, 0.6, 0.0))


def test_pooled_counts_are_sums_over_folds_with_exact_intervals(rows):
    pooled = rows[CellClass.LYT].sensitivity.pooled
    assert (pooled.count, pooled.total, pooled.value) == (14, 20, 0.7)
    assert pooled.ci95 == exact_interval(14, 20)
    assert rows[CellClass.LYT].images == 20


def test_a_class_never_called_has_no_precision_and_one_never_seen_no_sensitivity(rows):
    assert rows[CellClass.MON].precision.pooled.value is None
    assert rows[CellClass.MON].sensitivity.folds == (None, None, 0.0)
    assert rows[CellClass.MON].sensitivity.fold_sd is None
    assert rows[CellClass.BAS].sensitivity.fold_mean is None


def test_one_fold_has_a_mean_and_no_spread():
    assert spread([0.5]) == (0.5, None)
    assert spread([None, None]) == (None, None)


def test_the_markdown_says_how_many_folds_define_a_figure(rows):
    table = format_class_table(tuple(rows.values()), folds=3)
    assert "| LYT typical lymphocyte | 20 | 0.929 ± 0.101 (2) | 0.700 ± 0.141 (2) | 0.967" in table
    assert "| LYT | 14/15 = 0.933 [0.681, 0.998] | 14/20 = 0.700 [0.457, 0.881] |" in table


def test_the_csv_has_every_class_and_leaves_undefined_figures_empty(tmp_path, rows):
    write_class_table(tmp_path / "table1.csv", tuple(rows.values()))
    with (tmp_path / "table1.csv").open(newline="") as stream:
        written = {row["code"]: row for row in csv.DictReader(stream)}
    assert tuple(written) == CODES
    assert written["LYT"]["sensitivity_mean"] == "0.700000"
    assert written["LYT"]["sensitivity_folds"] == "2"
    assert written["BAS"]["sensitivity_mean"] == written["BAS"]["sensitivity_ci95_low"] == ""
