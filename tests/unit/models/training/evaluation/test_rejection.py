from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.predictor import Classifier
from models.taxonomy import CODES, INDEX, CellClass
from models.training.data.manifest import LabelledCell, Stranger
from models.training.evaluation.predictions import Predictions
from models.training.evaluation.rejection import (
    StrangerPredictions,
    choose_rejection,
    measure_entropy,
    measure_rejection,
    predict_strangers,
)
from tests.cards import make_card
from tests.training_runs import build_tiny


def rows(spread: list[float], label: CellClass = CellClass.MYO) -> np.ndarray:
    """Probabilities with the rest of the label's spread over two other classes."""
    table = np.zeros((len(spread), len(CODES)), np.float32)
    table[:, INDEX[label]] = 1 - np.array(spread)
    for other in (CellClass.LYT, CellClass.NGS):
        table[:, INDEX[other]] += np.array(spread) / 2
    return table


def known(spread: list[float], source: str = "lab") -> Predictions:
    cells = tuple(
        LabelledCell(Path(f"{i}"), source, CellClass.MYO, f"p{i}", 0.1) for i in range(len(spread))
    )
    return Predictions(cells, rows(spread), Counter())


def strange(spread: list[float], label: CellClass = CellClass.MYO) -> StrangerPredictions:
    cells = tuple(Stranger(Path(f"{i}"), "lab", "plasma cell", "", 0.1) for i in range(len(spread)))
    return StrangerPredictions(cells, rows(spread, label))


def test_certainty_has_no_entropy_and_three_equal_classes_have_that_of_three():
    assert measure_entropy(rows([0.0, 2 / 3])) == pytest.approx([0.0, np.log(3)], abs=1e-6)


def test_one_in_ten_ordinary_cells_is_rejected_and_strangers_are_told_from_them():
    usual = [0.001 * i for i in range(100)]
    found = choose_rejection(known(usual), strange([0.6, 0.5, 0.001]), source="lab")
    assert found.rejected["lab"] == pytest.approx(0.1, abs=0.011)
    figures = found.strangers["plasma cell"]
    assert (figures.cells, figures.as_leukocytes, figures.rejected) == (3, 3, 2)
    assert figures.auroc == pytest.approx((1 + 1 + 0.015) / 3, abs=0.01)


def test_strangers_named_smudge_cells_are_in_no_count():
    figures = measure_rejection(known([0.1]), strange([0.4], CellClass.KSC), above=0.0)
    assert figures.strangers["plasma cell"].as_leukocytes == 0
    assert figures.strangers["plasma cell"].auroc is None


def test_unreadable_strangers_are_left_out(tmp_path):
    classifier = Classifier(build_tiny(len(CODES)), make_card(network="tiny", input_px=48))
    missing = Stranger(tmp_path / "missing.png", "lab", "artefact", "", 0.3)
    assert predict_strangers(classifier, [missing]).probabilities.shape == (0, len(CODES))
