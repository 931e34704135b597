from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.taxonomy import BLAST, CODES, INDEX, CellClass
from models.training.classifier.calibration import (
    ALONE,
    CalibrationError,
    assign_folds,
    calibrate,
    fit_temperature,
    sharpen,
)
from models.training.data.manifest import LabelledCell
from models.training.evaluation.metrics import group_probability
from models.training.evaluation.predictions import Predictions

MYO, NGS, PMO = CellClass.MYO, CellClass.NGS, CellClass.PMO


def make_cells(
    labels: list[CellClass], patients: list[str], source: str = "lab"
) -> list[LabelledCell]:
    pairs = zip(labels, patients, strict=True)
    return [
        LabelledCell(Path(f"{source}{i}"), source, label, patient, 0.1, name=f"{source}{i}")
        for i, (label, patient) in enumerate(pairs)
    ]


def make_predictions(cells: list[LabelledCell], p_blast: list[float]) -> Predictions:
    """MYO has the probability given, NGS the rest."""
    probabilities = np.zeros((len(cells), len(CODES)), np.float32)
    probabilities[:, INDEX[MYO]] = p_blast
    probabilities[:, INDEX[NGS]] = 1 - probabilities[:, INDEX[MYO]]
    return Predictions(tuple(cells), probabilities, Counter())


def draw_predictions(count: int, *, seed: int, patients: int, source: str = "lab") -> Predictions:
    """Noisy predictions whose probabilities are right: a cell given 0.8 is a blast 8 in 10."""
    rng = np.random.default_rng(seed)
    p_blast = rng.beta(0.7, 0.7, count)
    labels = [MYO if u < p else NGS for u, p in zip(rng.random(count), p_blast, strict=True)]
    names = [f"p{i}" for i in rng.integers(0, patients, count)] if patients else [""] * count
    return make_predictions(make_cells(labels, names, source), p_blast.tolist())


def test_a_higher_temperature_softens_and_keeps_zeros():
    probabilities = np.array([[0.9, 0.1, 0.0]], np.float32)
    softened = sharpen(probabilities, 2.0)
    # square roots 0.9487 and 0.3162, divided by their sum
    np.testing.assert_allclose(softened, [[0.75, 0.25, 0.0]], rtol=1e-6)


def test_the_temperature_undoes_a_known_overconfidence():
    right = draw_predictions(4000, seed=0, patients=20)
    sharp = Predictions(right.cells, sharpen(right.probabilities, 0.5), Counter())
    assert fit_temperature(right, ["lab"]) == pytest.approx(1.0, abs=0.06)
    assert fit_temperature(sharp, ["lab"]) == pytest.approx(2.0, abs=0.12)


def test_a_patient_is_never_divided_between_folds_and_sources_are_split_on_their_own():
    rng = np.random.default_rng(1)
    labels = [NGS] * 200
    cells = make_cells(labels, [f"p{i}" for i in rng.integers(0, 12, 200)], "a")
    cells += make_cells(labels[:50], [""] * 50, "b")
    folds = assign_folds(cells)
    for source in ("a", "b"):
        inside = [fold for fold, cell in zip(folds, cells, strict=True) if cell.source == source]
        assert set(inside) == {0, 1, 2, 3, 4}
    of_patient: dict[str, set[int]] = {}
    for fold, cell in zip(folds[:200], cells[:200], strict=True):
        of_patient.setdefault(cell.patient, set()).add(int(fold))
    assert all(len(found) == 1 for found in of_patient.values())


def test_a_prepared_group_stays_together_even_without_patients():
    cells = [
        LabelledCell(Path(f"{i}"), "lab", NGS, "", 0.1, group=f"g{i // 4}", name=f"{i}")
        for i in range(40)
    ]
    folds = assign_folds(cells)
    assert all(len(set(folds[i : i + 4])) == 1 for i in range(0, 40, 4))


def test_a_single_patient_cannot_be_held_out_and_two_can():
    labels = [MYO, NGS] * 3
    assert (assign_folds(make_cells(labels, ["p"] * 6)) == ALONE).all()
    assert set(assign_folds(make_cells(labels, ["p", "q"] * 3))) == {0, 1}


def test_thresholds_come_from_all_cells_and_figures_from_the_other_patients():
    # Patient "odd" has normal cells scored like blasts. With him a blast must score 0.8 to be
    # called, which 5 of 10 do; a threshold found without him is 0.6 and calls his ten cells.
    labels = [MYO] * 10 + [NGS] * 30 + [NGS] * 10
    patients = [f"p{i % 4}" for i in range(40)] + ["odd"] * 10
    p_blast = [0.6, 0.8] * 5 + [0.1] * 30 + [0.7] * 10
    predictions = make_predictions(make_cells(labels, patients), p_blast)
    found = calibrate(predictions, temperature_sources=["lab"], threshold_source="lab")
    scores = group_probability(sharpen(predictions.probabilities, found.temperature), BLAST)
    called = scores >= found.blast.threshold
    assert called.tolist() == [False, True] * 5 + [False] * 40
    assert (found.blast.sensitivity, found.blast.specificity) == (0.5, 0.75)
    assert "5-fold cross-fitting over 5 patients or groups" in found.blast.basis


def test_cross_fitted_figures_are_no_better_than_those_on_the_same_cells():
    gaps = []
    for seed in range(12):
        predictions = draw_predictions(120, seed=seed, patients=12)
        found = calibrate(predictions, temperature_sources=["lab"], threshold_source="lab")
        scores = group_probability(sharpen(predictions.probabilities, found.temperature), BLAST)
        other = np.array([label not in BLAST for label in predictions.labels])
        same_cells = (scores[other] < found.blast.threshold).mean()
        assert same_cells >= 0.95
        gaps.append(same_cells - found.blast.specificity)
    assert np.mean(gaps) > 0


def test_calibration_errors_are_per_source_and_small_where_probabilities_are_right():
    a = draw_predictions(3000, seed=1, patients=30, source="a")
    b = draw_predictions(3000, seed=2, patients=0, source="b")
    both = Predictions(
        a.cells + b.cells, np.concatenate([a.probabilities, b.probabilities]), Counter()
    )
    found = calibrate(both, temperature_sources=["a", "b"], threshold_source="b")
    assert set(found.ece) == {"a", "b"}
    assert max(found.ece.values()) < 0.04
    assert "5-fold cross-fitting over patients" in found.how
    assert "cells of unknown patients on their own" in found.atypical.basis


def test_a_single_patient_is_said_to_be_optimistic():
    predictions = make_predictions(make_cells([MYO, NGS] * 5, ["p"] * 10), [0.9, 0.2] * 5)
    found = calibrate(predictions, temperature_sources=["lab"], threshold_source="lab")
    assert (found.blast.sensitivity, found.blast.specificity) == (1.0, 1.0)
    assert "too few patients (1) to cross-fit" in found.blast.basis
    assert "optimistic" in found.how


def test_one_patient_with_all_blasts_cannot_be_held_out():
    cells = make_cells([MYO] * 4 + [NGS] * 8, ["p"] * 4 + ["q", "r"] * 4)
    found = calibrate(
        make_predictions(cells, [0.9] * 4 + [0.2] * 8),
        temperature_sources=["lab"],
        threshold_source="lab",
    )
    assert "so both figures are optimistic" in found.blast.basis


def test_sources_that_cannot_serve_are_named():
    predictions = make_predictions(make_cells([NGS, PMO], ["p", "q"]), [0.1, 0.2])
    with pytest.raises(CalibrationError, match="no validation cell comes from 'elsewhere'"):
        calibrate(predictions, temperature_sources=["elsewhere"], threshold_source="lab")
    with pytest.raises(CalibrationError, match="0 of 2 validation cells of 'lab' are in MOB, MYO"):
        calibrate(predictions, temperature_sources=["lab"], threshold_source="lab")
    with pytest.raises(CalibrationError, match="0 of 0 validation cells of 'elsewhere'"):
        calibrate(predictions, temperature_sources=["lab"], threshold_source="elsewhere")
