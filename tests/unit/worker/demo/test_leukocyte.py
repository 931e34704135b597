import numpy as np
import pytest

from models.taxonomy import CODES, CellClass
from worker.demo.leukocyte import draw_leukocyte
from worker.demo.morphology import DEFAULT_MIX, MORPHOLOGY
from worker.demo.stain import DENSITY_STEPS, GIEMSA, MAY_GRUNWALD_GIEMSA


def draw(code: CellClass, diameter_um: float = 14.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return draw_leukocyte(code, diameter_um, rng, MAY_GRUNWALD_GIEMSA, 0.145)


def test_every_class_has_a_look_and_all_but_the_blast_a_share() -> None:
    assert set(MORPHOLOGY) == set(CODES)
    assert set(DEFAULT_MIX) == set(CODES) - {CellClass.MYO}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cell_has_a_nucleus_and_stays_inside_its_sprite(code: CellClass, seed: int) -> None:
    sprite = draw(code, seed=seed) / DENSITY_STEPS
    border = np.concatenate([sprite[0], sprite[-1], sprite[:, 0], sprite[:, -1]])
    assert border.max() < 0.05
    middle = sprite[len(sprite) // 4 : -len(sprite) // 4, len(sprite) // 4 : -len(sprite) // 4]
    assert np.percentile(middle[..., 1], 90) > 0.6


@pytest.mark.parametrize("code", [CellClass.NGS, CellClass.KSC, CellClass.PMO])
def test_one_seed_gives_one_cell(code: CellClass) -> None:
    assert np.array_equal(draw(code), draw(code))
    assert not np.array_equal(draw(code, seed=1), draw(code, seed=2))


def test_a_wider_cell_covers_more_glass() -> None:
    small, large = (int((draw(CellClass.LYT, d) > 200).any(-1).sum()) for d in (8.0, 12.0))
    assert large / small == pytest.approx((12 / 8) ** 2, rel=0.15)


@pytest.mark.parametrize("stain", [GIEMSA, MAY_GRUNWALD_GIEMSA])
def test_no_dye_is_brighter_than_the_glass(stain: object) -> None:
    for name in ("haemoglobin", "chromatin", "basophilia", "neutrophilia", "eosin", "basophil"):
        assert (stain.density(getattr(stain, name)) >= 0).all()  # type: ignore[attr-defined]
