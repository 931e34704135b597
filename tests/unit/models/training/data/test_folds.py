import random
from collections import Counter
from pathlib import Path

import pytest

from models.taxonomy import CellClass
from models.training.data.annotations import EXPECTED_COUNTS
from models.training.data.folds import FoldError, assign_folds, assign_groups, count_folds
from models.training.data.manifest import LabelledCell

MYO, LYA = CellClass.MYO, CellClass.LYA


def cell(name, label=MYO, *, source="a", patient="", group=""):
    return LabelledCell(Path(name), source, label, patient, 0.1, group=group, name=name)


def test_classes_of_the_real_data_sets_size_differ_by_at_most_one_between_folds():
    cells = [
        cell(f"{code}/{number}", code)
        for code, count in EXPECTED_COUNTS.items()
        for number in range(count)
    ]
    table = count_folds(assign_folds(cells, folds=5, seed=2019))
    assert {code: sum(counts) for code, counts in table.counts.items()} == EXPECTED_COUNTS
    assert all(max(counts) - min(counts) <= 1 for counts in table.counts.values())
    assert sorted(table.counts[LYA]) == [2, 2, 2, 2, 3]


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows():
    cells = [cell(f"{number}") for number in range(50)]
    shuffled = random.Random(0).sample(cells, len(cells))

    def folds(rows, seed):
        return {c.name: c.fold for c in assign_folds(rows, folds=5, seed=seed)}

    assert folds(cells, 1) == folds(shuffled, 1)
    assert folds(cells, 1) != folds(cells, 2)
    assert set(folds(cells, 1).values()) == {1, 2, 3, 4, 5}


def test_a_group_shares_a_fold_and_cells_keep_their_order():
    cells = [cell(f"{n}", group=f"g{n % 7}") for n in range(70)]
    folded = assign_folds(cells, folds=3, seed=0)
    assert [c.name for c in folded] == [c.name for c in cells]
    assert all(len({c.fold for c in folded if c.group == f"g{g}"}) == 1 for g in range(7))


def test_links_and_patients_join_over_several_steps():
    cells = [
        cell("p1-first", patient="1"),
        cell("p1-second", patient="1"),
        cell("copy"),
        cell("copy-of-copy"),
        cell("alone"),
    ]
    groups = [c.group for c in assign_groups(cells, [(2, 3), (1, 2)])]
    assert groups == ["a:1", "a:1", "a:1", "a:1", "alone"]


def test_equal_patient_ids_of_two_sources_are_two_people():
    cells = [cell("x", patient="1", source="a"), cell("y", patient="1", source="b")]
    assert [c.group for c in assign_groups(cells, [])] == ["a:1", "b:1"]


def test_a_group_does_not_depend_on_the_order_of_rows():
    cells = [cell("c"), cell("a"), cell("b")]
    forward = {c.name: c.group for c in assign_groups(cells, [(0, 1)])}
    backward = {c.name: c.group for c in assign_groups(cells[::-1], [(1, 2)])}
    assert forward == backward == {"c": "a", "a": "a", "b": "b"}


def test_a_group_the_manifest_states_is_kept_together():
    cells = [cell("x", group="g"), cell("y", group="g"), cell("z", group="h")]
    counts = Counter(c.group for c in assign_groups(cells, []))
    assert sorted(counts.values()) == [1, 2]


def test_as_many_groups_as_folds_are_enough_and_one_fewer_is_an_error():
    cells = [cell(f"{n}", group=f"g{n % 4}") for n in range(20)]
    assert {c.fold for c in assign_folds(cells, folds=4, seed=0)} == {1, 2, 3, 4}
    with pytest.raises(FoldError, match=r"5 folds of 20 cells in 4 groups.*at most 4"):
        assign_folds(cells, folds=5, seed=0)


@pytest.mark.parametrize("folds", [0, 1])
def test_one_fold_is_no_cross_validation(folds):
    with pytest.raises(FoldError, match="at least 2"):
        assign_folds([cell("a"), cell("b")], folds=folds, seed=0)


def test_a_class_with_fewer_groups_than_folds_is_allowed_and_reported():
    cells = [cell(f"{n}") for n in range(20)] + [cell("l1", LYA), cell("l2", LYA)]
    table = count_folds(assign_folds(cells, folds=5, seed=0))
    assert table.too_few == {LYA: 2}
    assert sorted(table.counts[LYA]) == [0, 0, 0, 1, 1]


def test_classes_that_are_all_smaller_than_the_folds_are_still_divided():
    cells = [cell("a"), cell("b"), cell("c", LYA), cell("d", LYA)]
    assert {c.fold for c in assign_folds(cells, folds=4, seed=0)} == {1, 2, 3, 4}
