import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from models.density import density_table
from tests.builders import GLASS, RED_CELL, expose, lay_cells
from worker.monolayer.focus import BLUR_MAX_UM, measure_blur_um
from worker.monolayer.grid import TILE_PX, UM_PER_PX

DENSITY = density_table(np.array(GLASS))[1]


def measure_smear(sigma_um: float, *, stain: float = 1.0, spacing_um: float = 11.0) -> float:
    """Blur of a tile of cells drawn four times as fine, blurred and sampled down."""
    fine_um = UM_PER_PX / 4
    cells = lay_cells((4 * TILE_PX, 4 * TILE_PX), fine_um, spacing_um=spacing_um)
    light = np.exp(-stain * RED_CELL[1] * gaussian_filter(cells, sigma_um / fine_um))
    sampled = GLASS[1] * light.reshape(TILE_PX, 4, TILE_PX, 4).mean(axis=(1, 3))
    return measure_blur_um(np.rint(sampled).astype(np.uint8), DENSITY)


@pytest.mark.parametrize("sigma_um", [0.7, 1.0, 1.4])
def test_a_known_blur_is_measured(sigma_um: float) -> None:
    assert measure_smear(sigma_um) == pytest.approx(sigma_um, rel=0.2)


def test_paler_cells_are_not_more_blurred() -> None:
    assert measure_smear(0.6, stain=0.4) == pytest.approx(measure_smear(0.6), rel=0.05)


def test_fewer_cells_are_not_more_blurred() -> None:
    assert measure_smear(0.6, spacing_um=25) == pytest.approx(measure_smear(0.6), rel=0.05)


def test_a_tile_of_one_value_has_no_blur() -> None:
    assert np.isnan(measure_blur_um(np.full((32, 32), 200, np.uint8), DENSITY))


def test_values_as_bright_as_the_glass_are_one_value() -> None:
    values = np.full((32, 32), 230, np.uint8)
    values[:16] = 255
    assert np.isnan(measure_blur_um(values, DENSITY))


def test_a_tile_too_small_to_have_an_inside_has_no_blur() -> None:
    assert np.isnan(measure_blur_um(np.array([[10, 200]], np.uint8), DENSITY))


def test_a_gentle_slope_is_blurred_as_far_as_can_be_told() -> None:
    slope = np.broadcast_to(np.arange(60, 188, dtype=np.uint8), (128, 128))
    assert 3 < measure_blur_um(slope, DENSITY) <= BLUR_MAX_UM


def test_a_sharp_tile_is_sharper_than_the_same_out_of_focus() -> None:
    picture = expose(lay_cells((TILE_PX, TILE_PX), UM_PER_PX))[..., 1]
    blurred = gaussian_filter(picture, 1.0 / UM_PER_PX)
    assert measure_blur_um(picture, DENSITY) < 0.65 < 0.95 < measure_blur_um(blurred, DENSITY)
