import numpy as np
import pytest

from models.background import estimate_background
from models.red_cell import LIMITS, PRIOR, estimate_red_cell
from tests.smears import RED_CELL_DENSITY, paint_field

WHITE = np.array([250.0, 250.0, 250.0])


def stain(rgb: np.ndarray, gain: float) -> np.ndarray:
    light = np.exp(gain * np.log((rgb + 1.0) / 251.0))
    return (light * 251.0 - 1.0).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.0, 1.3])
def test_a_red_cell_is_read_off_a_field_of_any_stain(gain):
    rgb = stain(paint_field(300, 300, 0.58)[0], gain)
    assert estimate_red_cell(rgb, WHITE) == pytest.approx(gain * RED_CELL_DENSITY, rel=0.15)


def test_a_leukocyte_that_fills_a_fifth_of_the_field_is_not_taken_for_red_cells():
    rgb, _ = paint_field(54, 54, 0.58, leukocytes=[(27.0, 27.0)])
    assert estimate_red_cell(rgb, WHITE) == pytest.approx(RED_CELL_DENSITY, rel=0.25)


def test_the_black_surround_of_an_eyepiece_is_no_cell():
    rgb, _ = paint_field(300, 300, 0.58)
    rows, cols = np.mgrid[:300, :300]
    rgb[np.hypot(rows - 150, cols - 150) > 140] = 8
    background = estimate_background(rgb)
    assert estimate_red_cell(rgb, background) == pytest.approx(RED_CELL_DENSITY, rel=0.15)


@pytest.mark.parametrize("value", [0, 120, 250])
def test_where_nothing_is_stained_the_estimate_is_the_prior(value):
    assert estimate_red_cell(np.full((40, 40, 3), value, np.uint8), WHITE) in (PRIOR, *LIMITS)


def test_several_images_of_a_slide_may_be_pooled():
    rgb, _ = paint_field(120, 120, 0.58)
    assert estimate_red_cell(rgb.reshape(-1, 3), WHITE) == estimate_red_cell(rgb, WHITE)
