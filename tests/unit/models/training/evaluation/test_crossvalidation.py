import json
import shutil

import pytest

from models.taxonomy import CODES, CellClass
from models.training.evaluation.crossvalidation import CrossvalUnusable, read_crossval
from tests.crossvals import CLASSES, write_crossval


@pytest.fixture
def crossval(tmp_path):
    write_crossval(tmp_path / "cv", unreadable=4)
    return tmp_path / "cv"


def test_every_cell_is_read_once_with_its_fold_and_patient(tmp_path):
    cells = write_crossval(tmp_path / "cv")
    folds = read_crossval(tmp_path / "cv")
    read = [cell for fold in folds for cell in fold.predictions.cells]
    assert sorted(cell.name for cell in read) == sorted(cell.name for cell in cells)
    assert all(cell.fold == fold.number for fold in folds for cell in fold.predictions.cells)
    assert {cell.name: cell.patient for cell in read} == {c.name: c.patient for c in cells}


def test_classes_without_training_cells_are_unsupported(crossval):
    assert read_crossval(crossval)[0].unsupported == frozenset(CODES) - frozenset(CLASSES)


def test_a_class_counted_as_zero_is_unsupported_too(crossval):
    path = crossval / "fold-2" / "data.json"
    path.write_text(json.dumps({"counts": {"clinic": {"MYO": 0, "NGS": 5}}}))
    assert CellClass.MYO in read_crossval(crossval)[1].unsupported


def test_unreadable_cells_are_kept_count_of(crossval):
    assert read_crossval(crossval)[0].predictions.unreadable == {"clinic": 4}


def test_folds_are_ordered_by_number_not_by_name(tmp_path):
    write_crossval(tmp_path / "cv")
    (tmp_path / "cv" / "fold-10-old").mkdir()
    assert [fold.number for fold in read_crossval(tmp_path / "cv")] == [1, 2, 3]


@pytest.mark.parametrize("name", ["predictions.csv", "background.csv"])
def test_an_unfinished_fold_is_named_with_what_it_lacks(crossval, name):
    (crossval / "fold-3" / name).unlink()
    with pytest.raises(CrossvalUnusable, match=f"fold-3 lacks {name}"):
        read_crossval(crossval)


def test_a_gap_between_folds_is_not_passed_over(crossval):
    shutil.rmtree(crossval / "fold-2")
    with pytest.raises(CrossvalUnusable, match="lacks fold-2"):
        read_crossval(crossval)


def test_a_directory_without_folds_says_how_to_make_them(tmp_path):
    with pytest.raises(CrossvalUnusable, match="smearscan train crossval"):
        read_crossval(tmp_path)


def test_a_cell_held_out_twice_is_refused_by_name(crossval):
    for name in ("predictions.csv", "background.csv"):
        row = (crossval / "fold-1" / name).read_text().splitlines()[1]
        with (crossval / "fold-2" / name).open("a") as stream:
            stream.write(row + "\n")
    with pytest.raises(CrossvalUnusable, match=r"0000\.png is held out of fold 1 and of fold 2"):
        read_crossval(crossval)


def test_a_control_of_other_cells_is_refused(crossval):
    path = crossval / "fold-1" / "background.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(CrossvalUnusable, match=r"background\.csv is not of the cells"):
        read_crossval(crossval)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_record_is_named(crossval, text):
    (crossval / "fold-1" / "data.json").write_text(text)
    with pytest.raises(CrossvalUnusable, match=r"data\.json"):
        read_crossval(crossval)
