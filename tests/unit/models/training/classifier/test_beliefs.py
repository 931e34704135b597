from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.taxonomy import INDEX
from models.training.classifier.beliefs import read_beliefs
from models.training.classifier.fit import Saving, fit
from models.training.classifier.recipe import RecipeError, Teaching
from models.training.classifier.run import load_run
from models.training.evaluation.crossvalidation import BACKGROUND, PREDICTIONS, CrossvalUnusable
from models.training.evaluation.predictions import Predictions, predict_cells, write_predictions
from tests.training_runs import COLOURS, RECIPE, register_tiny, write_cells

pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


def certain(cells, named):
    """Predictions that are sure of one class for each cell."""
    probabilities = np.zeros((len(cells), 15), np.float32)
    probabilities[np.arange(len(cells)), [INDEX[code] for code in named]] = 1.0
    return Predictions(tuple(cells), probabilities, Counter())


def write_folds(directory, cells, named):
    half = len(cells) // 2
    for number, part in enumerate((slice(None, half), slice(half, None)), start=1):
        fold = directory / f"fold-{number}"
        fold.mkdir(parents=True)
        for name in (PREDICTIONS, BACKGROUND):
            write_predictions(fold / name, certain(cells[part], named[part]))
        (fold / "data.json").write_text('{"counts": {}}')
        (fold / "recipe.json").write_text("{}")


def test_each_cell_gets_what_its_own_fold_said(tmp_path):
    cells = write_cells(tmp_path, per_class=2)
    write_folds(tmp_path / "crossval", cells, [cell.label for cell in cells])
    backwards = cells[::-1]
    beliefs = read_beliefs(Teaching(str(tmp_path / "crossval")), backwards)
    assert beliefs.argmax(1).tolist() == [INDEX[cell.label] for cell in backwards]
    assert torch.equal(beliefs.sum(1), torch.ones(len(cells)))


def test_a_cell_that_no_fold_held_out_is_named(tmp_path):
    cells = write_cells(tmp_path, per_class=2)
    write_folds(tmp_path / "crossval", cells[:-1], [cell.label for cell in cells[:-1]])
    with pytest.raises(RecipeError, match=rf"1 of 6 cells, the first: {cells[-1].name}"):
        read_beliefs(Teaching(str(tmp_path / "crossval")), cells)


def test_what_is_no_cross_validation_is_said_to_be_none(tmp_path):
    cells = write_cells(tmp_path, per_class=2)
    with pytest.raises(CrossvalUnusable, match="holds no fold-1"):
        read_beliefs(Teaching(str(tmp_path / "elsewhere")), cells)


def test_a_network_taught_by_beliefs_alone_forgets_the_labels(tmp_path):
    cells = write_cells(tmp_path, per_class=12)
    other = dict(zip(COLOURS, [*list(COLOURS)[1:], next(iter(COLOURS))], strict=True))
    write_folds(tmp_path / "crossval", cells, [other[cell.label] for cell in cells])
    recipe = replace(
        RECIPE,
        stages=((40, 48),),
        teaching=Teaching(str(tmp_path / "crossval"), share=1.0),
    )
    fit(recipe, cells, out=tmp_path / "run", saving=Saving(crops=tmp_path / "crops"))
    named = predict_cells(load_run(tmp_path / "run"), cells).probabilities.argmax(1)
    assert named.tolist() == [INDEX[other[cell.label]] for cell in cells]
