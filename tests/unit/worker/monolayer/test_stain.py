import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests.builders import GLASS, RED_CELL, expose, lay_cells
from worker.monolayer.grid import TILE_PX, UM_PER_PX
from worker.monolayer.single_cells import find_single_cells
from worker.monolayer.stain import PRIOR_DENSITY, estimate_stain

TILE = (TILE_PX, TILE_PX)


def take_sample(
    *, sheets: int = 1, seed: int = 0, blur_um: float = 0.0, stain: float = 1.0
) -> NDArray[np.uint8]:
    cells = lay_cells(TILE, UM_PER_PX, sheets=sheets, seed=seed)
    sigma = blur_um / UM_PER_PX
    picture: NDArray[np.uint8] = gaussian_filter(expose(cells, stain=stain), (sigma, sigma, 0))
    return picture


@pytest.mark.parametrize("stain", [0.3, 1.0, 1.5])
def test_glass_and_red_cell_are_read_off_a_single_layer(stain: float) -> None:
    found = estimate_stain([take_sample(stain=stain)])
    assert found.background == pytest.approx(np.array(GLASS), abs=1.5)
    assert found.density == pytest.approx(stain * RED_CELL[1], rel=0.07)
    assert found.red_cell == pytest.approx(stain * np.array(RED_CELL), rel=0.07)
    assert found.tint == pytest.approx((RED_CELL[0] - RED_CELL[2]) / RED_CELL[1], abs=0.05)


def test_samples_out_of_focus_do_not_dilute_a_sharp_one() -> None:
    blurred = [take_sample(seed=seed, blur_um=1.5) for seed in range(1, 8)]
    assert estimate_stain([take_sample(), *blurred]).density == pytest.approx(RED_CELL[1], rel=0.07)


def test_thick_samples_do_not_pass_for_one_layer_beside_a_thin_one() -> None:
    thick = [take_sample(sheets=5, seed=seed) for seed in range(1, 8)]
    assert estimate_stain([take_sample(), *thick]).density == pytest.approx(RED_CELL[1], rel=0.07)


def test_without_cells_the_density_is_the_prior() -> None:
    glass = expose(np.zeros(TILE, np.float32))
    found = estimate_stain([glass])
    assert found.density == found.red_cell[1] == pytest.approx(PRIOR_DENSITY)


def test_where_no_cell_lies_alone_the_detector_s_unit_is_what_most_of_the_stained_area_has() -> (
    None
):
    touching = np.zeros(TILE, np.float32)
    touching[:, 40:] = 1.0
    found = estimate_stain([expose(touching, stain=1.3)])
    assert found.density == PRIOR_DENSITY
    assert found.red_cell == pytest.approx(1.3 * np.array(RED_CELL), rel=0.05)


def test_only_cells_that_touch_nothing_are_single() -> None:
    y, x = np.mgrid[:120, :160] * UM_PER_PX
    density = np.zeros(y.shape, np.float32)
    for centre in ((20.0, 20.0), (45.0, 20.0), (45.0, 26.0), (45.0, 60.0)):
        density = np.maximum(density, 0.5 * (np.hypot(y - centre[0], x - centre[1]) < 3.75))
    density[:, -60:] = np.maximum(density[:, -60:], 0.2 * (y[:, -60:] > 60))
    found = find_single_cells(density, UM_PER_PX)
    assert found[round(20 / UM_PER_PX), round(20 / UM_PER_PX)]
    assert found[round(45 / UM_PER_PX), round(60 / UM_PER_PX)]
    assert not found[round(45 / UM_PER_PX), round(23 / UM_PER_PX)]


@pytest.mark.parametrize(("diameter_um", "single"), [(4.0, False), (6.0, True), (12.0, False)])
def test_platelets_and_leukocytes_are_no_red_cells(diameter_um: float, single: bool) -> None:
    cells = lay_cells(TILE, UM_PER_PX, spacing_um=18.0, diameter_um=diameter_um)
    assert find_single_cells(0.5 * cells, UM_PER_PX).any() == single


def test_a_tile_without_gaps_has_no_single_cells() -> None:
    cells = lay_cells(TILE, UM_PER_PX, sheets=8)
    assert not find_single_cells(0.5 * cells, UM_PER_PX).any()
