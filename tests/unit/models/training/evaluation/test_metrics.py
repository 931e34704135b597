import numpy as np
import pytest

from models.taxonomy import BLAST, CODES, INDEX, CellClass
from models.training.evaluation.metrics import expected_calibration_error, group_auc, measure

MYO, NGS, LYT = CellClass.MYO, CellClass.NGS, CellClass.LYT


def one_hot(*codes: CellClass) -> np.ndarray:
    out = np.zeros((len(codes), len(CODES)), np.float32)
    out[np.arange(len(codes)), [INDEX[c] for c in codes]] = 1
    return out


def test_balanced_accuracy_is_the_mean_over_classes_not_over_cells():
    figures = measure(one_hot(NGS, NGS, NGS, NGS), [NGS, NGS, NGS, LYT], unsupported=())
    assert figures.accuracy == 0.75
    assert figures.balanced_accuracy == 0.5


def test_an_unsupported_class_counts_against_accuracy_but_not_in_the_mean_over_classes():
    figures = measure(one_hot(NGS, NGS), [NGS, CellClass.MOB], unsupported=[CellClass.MOB])
    assert figures.accuracy == 0.5
    assert figures.balanced_accuracy == 1.0
    assert figures.recall[CellClass.MOB] == 0.0


def test_a_monoblast_called_a_myeloblast_is_a_blast_found():
    labels = [CellClass.MOB, NGS, LYT]
    assert group_auc(one_hot(MYO, NGS, LYT), labels, BLAST) == 1.0


def test_auc_is_undefined_without_both_kinds():
    assert group_auc(one_hot(NGS, LYT), [NGS, LYT], BLAST) is None


def test_no_cells_give_no_figures_and_no_error():
    figures = measure(np.empty((0, 15), np.float32), [], unsupported=(), unreadable=3)
    assert (figures.n, figures.unreadable, figures.accuracy) == (0, 3, None)


def test_calibration_error_of_an_overconfident_model_is_the_gap():
    confidence = np.full(10, 0.9)
    hit = np.arange(10) < 6
    assert expected_calibration_error(confidence, hit) == pytest.approx(0.3)


def test_full_confidence_falls_into_the_last_bin():
    assert expected_calibration_error(np.ones(4), np.ones(4, bool)) == 0.0
