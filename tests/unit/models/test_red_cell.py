import numpy as np
import pytest

from models.background import estimate_background
from models.red_cell import PRIOR, SHARE_LIMITS, estimate_red_cell, limit_shares
from tests.smears import RED_CELL_DENSITY, paint_field

WHITE = np.array([250.0, 250.0, 250.0])
RED_CELL = np.array(RED_CELL_DENSITY)


def stain(rgb: np.ndarray, gain: float) -> np.ndarray:
    light = np.exp(gain * np.log((rgb + 1.0) / 251.0))
    return (light * 251.0 - 1.0).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.0, 1.3])
def test_a_red_cell_is_read_off_a_field_of_any_stain(gain):
    rgb = stain(paint_field(300, 300, 0.58)[0], gain)
    assert estimate_red_cell(rgb, WHITE) == pytest.approx(gain * RED_CELL, rel=0.15)


def test_a_leukocyte_that_fills_a_fifth_of_the_field_is_not_taken_for_red_cells():
    rgb, _ = paint_field(54, 54, 0.58, leukocytes=[(27.0, 27.0)])
    assert estimate_red_cell(rgb, WHITE) == pytest.approx(RED_CELL, rel=0.25)


def test_the_black_surround_of_an_eyepiece_is_no_cell():
    rgb, _ = paint_field(300, 300, 0.58)
    rows, cols = np.mgrid[:300, :300]
    rgb[np.hypot(rows - 150, cols - 150) > 140] = 8
    background = estimate_background(rgb)
    assert estimate_red_cell(rgb, background) == pytest.approx(RED_CELL, rel=0.15)


@pytest.mark.parametrize("value", [0, 250])
def test_where_nothing_is_stained_the_estimate_is_the_prior(value):
    field = np.full((40, 40, 3), value, np.uint8)
    assert estimate_red_cell(field, WHITE) == pytest.approx(PRIOR)


def test_red_and_blue_are_kept_in_proportion_to_green():
    assert limit_shares(np.array([0.0, 0.5, 5.0])) == pytest.approx(
        [0.5 * SHARE_LIMITS[0], 0.5, 0.5 * SHARE_LIMITS[1]]
    )


def test_several_images_of_a_slide_may_be_pooled():
    rgb, _ = paint_field(120, 120, 0.58)
    pooled = estimate_red_cell(rgb.reshape(-1, 3), WHITE)
    assert (pooled == estimate_red_cell(rgb, WHITE)).all()
