from collections import Counter

import numpy as np
import pytest

from models.taxonomy import CODES, CellClass
from worker.demo.morphology import DEFAULT_MIX
from worker.demo.population import GAP_UM, MARGIN_UM, plan_codes, plant_leukocytes
from worker.demo.smear import Smear


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2, 1.0])
def test_blasts_are_a_fraction_of_the_differential(fraction: float) -> None:
    numbers = Counter(plan_codes(1000, fraction, DEFAULT_MIX))
    aside = numbers[CellClass.EBO] + numbers[CellClass.KSC]
    assert numbers[CellClass.MYO] == round(fraction * (1000 - aside))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 199])
def test_the_planned_number_of_cells_is_exact(count: int) -> None:
    assert len(plan_codes(count, 0.05, DEFAULT_MIX)) == count


def test_an_even_mix_plants_every_class() -> None:
    numbers = Counter(plan_codes(150, 1 / 13, dict.fromkeys(CODES, 1.0)))
    assert set(numbers) == set(CODES)
    assert max(numbers.values()) - min(numbers.values()) <= 2


def test_a_mix_of_one_class_plants_only_that() -> None:
    assert set(plan_codes(9, 0.0, {CellClass.EOS: 1.0})) == {CellClass.EOS}


@pytest.mark.parametrize("mix", [{}, {CellClass.MYO: 1.0}, {CellClass.EOS: -1.0}])
def test_a_mix_without_a_share_to_plant_is_refused(mix: dict[CellClass, float]) -> None:
    with pytest.raises(ValueError, match="mix"):
        plan_codes(9, 0.0, mix)


def test_cells_keep_apart_unless_they_are_a_touching_pair() -> None:
    cells = plant_leukocytes(Smear(2000, 1250, 1), 1, 300, 0.05)
    apart = np.hypot(*(cells.centres_um[:, None] - cells.centres_um[None]).transpose(2, 0, 1))
    gaps = apart - (cells.diameters_um[:, None] + cells.diameters_um[None]) / 2
    np.fill_diagonal(gaps, np.inf)
    close = np.argwhere(gaps < GAP_UM)
    assert 0 < len(close) < 30
    assert all(cells.touching[i] and cells.touching[j] for i, j in close)
    assert gaps[cells.touching].min(axis=1) == pytest.approx(-0.02 * 12, abs=0.2)


def test_cells_lie_on_blood_and_off_the_slides_edge() -> None:
    smear = Smear(1000, 625, 3)
    cells = plant_leukocytes(smear, 3, 80, 0.05)
    x, y = cells.centres_um.T
    assert (smear.coverage(x, y) > 0).all()
    assert x.min() >= MARGIN_UM
    assert x.max() <= 1000 - MARGIN_UM
    assert y.min() >= MARGIN_UM
    assert y.max() <= 625 - MARGIN_UM


def test_a_full_slide_says_how_to_make_room() -> None:
    with pytest.raises(ValueError, match="plant fewer"):
        plant_leukocytes(Smear(300, 190, 1), 1, 171, 0.0)
