from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.taxonomy import CODES, INDEX, CellClass
from models.training.classifier.group_errors import measure_errors
from models.training.data.manifest import LabelledCell
from models.training.evaluation.predictions import Predictions


def predictions(named: list[CellClass], patients: list[str], true: list[CellClass]) -> Predictions:
    cells = tuple(
        LabelledCell(Path(f"{i}"), "lab", true[i], patient, 0.1)
        for i, patient in enumerate(patients)
    )
    table = np.zeros((len(named), len(CODES)), np.float32)
    table[np.arange(len(named)), [INDEX[code] for code in named]] = 1
    return Predictions(cells, table, Counter())


def test_rates_are_of_cells_labelled_as_leukocytes_patient_by_patient():
    named = [CellClass.MYO] * 30 + [CellClass.KSC] * 10 + [CellClass.NGS] * 40
    patients = [f"p{i % 5}" for i in range(80)]
    member = np.arange(80) < 40
    called = np.arange(80) < 27
    true = [CellClass.MYO] * 40 + [CellClass.PMO] * 15 + [CellClass.NGS] * 25
    errors = measure_errors(predictions(named, patients, true), called, member)
    assert errors is not None
    assert (errors.sensitivity.patients, errors.sensitivity.cells) == (5, 30)
    assert errors.specificity.cells == 40
    assert errors.blank_specificity.cells == 25
    sensitivity = errors.sensitivity
    mean = sensitivity.alpha / (sensitivity.alpha + sensitivity.beta)
    assert mean == pytest.approx(0.87, abs=0.03)


def test_without_a_cell_of_the_group_there_is_no_sensitivity():
    found = predictions([CellClass.NGS] * 4, ["a", "b"] * 2, [CellClass.NGS] * 4)
    assert measure_errors(found, np.zeros(4, bool), np.zeros(4, bool)) is None
