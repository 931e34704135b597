from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch

from models.taxonomy import INDEX, CellClass
from models.training.classifier.draws import EpochBatches, EqualDraws, WeightedDraws, plan_draws
from models.training.classifier.recipe import Recipe
from models.training.data.manifest import LabelledCell


def cell(code: CellClass, source: str = "a") -> LabelledCell:
    return LabelledCell(Path("x"), source, code, "", 0.1)


def weighted(cells, power=0.5, source_balanced=True) -> WeightedDraws:
    return WeightedDraws(cells, power=power, source_balanced=source_balanced)


def test_a_class_is_split_evenly_between_its_sources():
    cells = [cell(CellClass.NGS, "a")] * 90 + [cell(CellClass.NGS, "b")] * 10
    weights = weighted(cells).weights
    assert float(weights[:90].sum()) == pytest.approx(float(weights[90:].sum()))


def test_without_source_balance_every_cell_of_a_class_weighs_the_same():
    cells = [cell(CellClass.NGS, "a")] * 90 + [cell(CellClass.NGS, "b")] * 10
    assert len(set(weighted(cells, source_balanced=False).weights.tolist())) == 1


def test_classes_are_weighted_by_a_power_of_their_size_and_say_their_shares():
    cells = [cell(CellClass.NGS)] * 100 + [cell(CellClass.BAS)] * 4
    draws = weighted(cells)
    assert float(draws.weights[:100].sum() / draws.weights[100:].sum()) == pytest.approx(10 / 2)
    assert float(draws.shares[INDEX[CellClass.BAS]]) == pytest.approx(2 / 12)
    assert float(draws.shares.sum()) == pytest.approx(1.0)


def test_equal_draws_take_each_class_alike_and_each_cell_alike_but_for_one():
    cells = [cell(CellClass.NGS)] * 7 + [cell(CellClass.LYA)] * 3
    draws = EqualDraws(cells, per_class=10)
    seen = Counter(draws.draw(torch.Generator().manual_seed(1)).tolist())
    assert len(draws) == 20
    assert sum(seen[i] for i in range(7)) == sum(seen[i] for i in (7, 8, 9)) == 10
    assert {seen[i] for i in range(7)} == {1, 2}
    assert {seen[i] for i in (7, 8, 9)} == {3, 4}


def test_the_papers_recipe_draws_ten_thousand_of_each_class():
    recipe = Recipe(name="x", draws_per_class=10_000)
    draws = plan_draws(recipe, [cell(CellClass.NGS)] * 20_000 + [cell(CellClass.LYA)] * 11)
    drawn = draws.draw(torch.Generator().manual_seed(0))
    assert int((drawn < 20_000).sum()) == int((drawn >= 20_000).sum()) == 10_000
    assert len(set(drawn[drawn < 20_000].tolist())) == 10_000


CELLS = [cell(CellClass.NGS)] * 50 + [cell(CellClass.BAS)] * 13


def batches(**options) -> EpochBatches:
    return EpochBatches(weighted(CELLS), **{"batch_size": 8, "seed": 3, **options})


def test_the_order_depends_on_seed_and_epoch_alone():
    first, second = batches(), batches()
    assert list(first) == list(second)
    assert list(first) != list(batches(seed=4))
    second.set_epoch(1)
    assert list(first) != list(second)


@pytest.mark.parametrize("world", [2, 4])
def test_devices_share_out_the_batches_of_one_device(world):
    dealt = [list(batches(rank=rank, world=world)) for rank in range(world)]
    for step, whole in enumerate(batches()):
        parts = [part[step] for part in dealt]
        assert sorted(chain.from_iterable(parts)) == sorted(whole)
        assert {len(part) for part in parts} == {8 // world}


def test_a_run_goes_on_after_the_step_it_was_stopped_at_and_then_does_whole_epochs():
    whole = batches()
    whole.set_epoch(1)
    resumed = batches(start=len(whole) + 3)
    assert resumed.epoch == 1
    assert list(resumed) == list(whole)[3:]
    for each in (resumed, whole):
        each.set_epoch(2)
    assert list(resumed) == list(whole)
    assert len(resumed) == len(whole) == 63 // 8
