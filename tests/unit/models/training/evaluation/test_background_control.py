import numpy as np
import pytest

from models.training.data.crops import read_crops
from models.training.data.manifest import read_manifest
from models.training.evaluation.background_control import hide_cell

GLASS, STAIN = (240, 225, 215), (90, 40, 130)


def disc_um(side: int = 400, *, patch_um: float = 29.0) -> np.ndarray:
    offset = (np.arange(side) + 0.5 - side / 2) * patch_um / side
    return np.hypot(offset[:, None], offset[None, :])


def patch_with_cell(radius_um: float) -> np.ndarray:
    patch = np.full((1, 400, 400, 3), GLASS, np.uint8)
    patch[0, disc_um() < radius_um] = STAIN
    return patch


@pytest.mark.parametrize("radius_um", [4.0, 7.5, 10.0, 11.0])
def test_neither_a_cell_nor_its_outline_remains_on_clean_glass(radius_um):
    hidden = hide_cell(patch_with_cell(radius_um))
    assert (hidden == np.array(GLASS, np.uint8)).all()


def test_of_a_cell_beyond_the_disc_a_rim_is_left():
    hidden = hide_cell(patch_with_cell(12.5))
    assert hidden.min() < 200


def test_nothing_inside_the_disc_reaches_the_result():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (2, 400, 400, 3), dtype=np.uint8)
    b = a.copy()
    b[:, disc_um() <= 11.0] = rng.integers(0, 256, b[:, disc_um() <= 11.0].shape)
    assert (a != b).any()
    assert (hide_cell(a) == hide_cell(b)).all()


def test_the_neighbourhood_stays_as_it_is():
    patches = np.random.default_rng(1).integers(0, 256, (1, 400, 400, 3), dtype=np.uint8)
    before = patches.copy()
    hidden = hide_cell(patches)
    far = disc_um() >= 12.5
    assert (hidden[:, far] == before[:, far]).all()
    assert (patches == before).all()


def test_the_fill_is_glass_although_most_of_the_ring_is_red_cells():
    patches = np.full((1, 400, 400, 3), (190, 140, 140), np.uint8)
    patches[0, :, :120] = GLASS
    filled = hide_cell(patches)[0, 200, 200]
    ring = disc_um() > 12.5
    assert (patches[0, ring] == np.array(GLASS)).all(axis=1).mean() < 0.5
    assert filled.tolist() == list(GLASS)


def test_the_fill_fades_without_a_step():
    patches = np.full((1, 400, 400, 3), GLASS, np.uint8)
    patches[0, 200:] = (150, 100, 110)
    column = hide_cell(patches)[0, :, 200, 1].astype(int)
    assert abs(np.diff(column)).max() < 20


def test_no_patches_are_no_patches():
    assert hide_cell(np.empty((0, 400, 400, 3), np.uint8)).shape == (0, 400, 400, 3)


def test_a_disc_that_covers_the_patch_is_refused():
    with pytest.raises(ValueError, match="cover a patch"):
        hide_cell(patch_with_cell(5.0), radius_um=20.0)


def test_the_nuclei_of_real_blasts_are_gone(real_data):
    cells = read_manifest(real_data / "cells.csv", root=real_data, split="val").cells
    blasts = [cell for cell in cells if cell.label == "MYO"][::10]
    patches, _ = read_crops(blasts, field_um=29.0, px=400)
    centre = disc_um() < 9.0
    nuclei = patches[:, centre, 0] < 130
    assert nuclei.mean() > 0.2
    assert (hide_cell(patches)[:, centre, 0] < 130).mean() == 0.0
