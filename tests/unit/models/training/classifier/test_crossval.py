from collections import Counter
from dataclasses import replace

import pytest

from models.errors import ModelError
from models.training.classifier.crossval import cross_validate, plan_folds
from models.training.evaluation.crossvalidation import read_crossval
from tests.training_runs import RECIPE, register_tiny, write_cells

pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")


def in_folds(cells, folds=3):
    return [
        replace(cell, fold=int(cell.patient[1:]) % folds + 1, group=cell.patient) for cell in cells
    ]


def test_each_cell_is_held_out_in_exactly_one_fold_and_trained_on_in_the_others(tmp_path):
    cells = in_folds(write_cells(tmp_path, per_class=6))
    folds = plan_folds(cells)
    assert [fold.number for fold in folds] == [1, 2, 3]
    assert Counter(cell for fold in folds for cell in fold.held_out) == Counter(cells)
    for fold in folds:
        assert set(fold.train) | set(fold.held_out) == set(cells)
        assert not {c.group for c in fold.train} & {c.group for c in fold.held_out}


def test_a_manifest_that_was_not_prepared_is_refused(tmp_path):
    with pytest.raises(ModelError, match="train prepare"):
        plan_folds(write_cells(tmp_path, per_class=2))


def test_a_group_in_two_folds_is_refused(tmp_path):
    cells = in_folds(write_cells(tmp_path, per_class=6))
    cells[0] = replace(cells[0], fold=2)
    with pytest.raises(ModelError, match="group 'p0' lies in folds"):
        plan_folds(cells)


def test_a_missing_fold_is_named(tmp_path):
    cells = [c for c in in_folds(write_cells(tmp_path, per_class=6)) if c.fold != 2]
    with pytest.raises(ModelError, match=r"\[1, 3\]"):
        plan_folds(cells)


def test_what_is_done_is_not_done_again_and_what_is_missing_is(tmp_path):
    register_tiny()
    cells = in_folds(write_cells(tmp_path, per_class=6))
    recipe = replace(RECIPE, stages=((1, 32),))
    out = tmp_path / "crossval"
    cross_validate(recipe, cells, out=out, only=[1, 3])
    assert sorted(path.name for path in out.glob("fold-*")) == ["fold-1", "fold-3"]
    kept = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/*.ckpt")}
    (out / "fold-3" / "background.csv").unlink()
    cross_validate(recipe, cells, out=out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    folds = read_crossval(out)
    seen = Counter(cell.name for fold in folds for cell in fold.predictions.cells)
    assert seen == Counter(cell.name for cell in cells)
    assert len(list(out.glob("crops-*"))) == 1


def test_a_fold_that_is_not_there_is_named(tmp_path):
    cells = in_folds(write_cells(tmp_path, per_class=6))
    with pytest.raises(ModelError, match="no fold \\[9\\]"):
        cross_validate(RECIPE, cells, out=tmp_path / "out", only=[9])
