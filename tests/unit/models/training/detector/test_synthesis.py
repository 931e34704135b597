"""What training canvases are made of: stains, black, dark red cells."""

import numpy as np
import pytest

from models.density import MAX_RELATIVE
from models.training.detector.black import draw_black
from models.training.detector.canvas import hide_cells
from models.training.detector.pieces import Piece, darken_cells
from models.training.detector.stain import StainJitter, expose, jitter_stain

QUIET = StainJitter(gamma=0.0, glass=0.0, tilt=0.0)


def piece(*labels: tuple[float, float, float, float]) -> Piece:
    """Two discs of 7 µm at (30, 30) and (70, 70) on 100 px of 0.58 µm, and labels."""
    rows, cols = np.mgrid[:100, :100]
    density = np.zeros((100, 100, 3), np.float32)
    for at in (30, 70):
        density[np.hypot(rows - at, cols - at) < 6.0] = 1.0
    return Piece(density, np.zeros((100, 100), bool), np.array(labels).reshape(-1, 4))


@pytest.mark.parametrize("seed", range(20))
def test_a_red_cell_is_one_in_every_channel_before_and_after_a_change_of_stain(seed):
    density = np.ones((8, 8, 3), np.float32)
    out = jitter_stain(density, QUIET, np.random.default_rng(seed))
    np.testing.assert_allclose(out, 1.0, atol=0.35)
    assert np.abs(out[..., 1] - 1.0).max() < 1e-3


def test_glass_stays_glass_under_any_stain():
    density = np.zeros((8, 8, 3), np.float32)
    for seed in range(20):
        assert not jitter_stain(density, QUIET, np.random.default_rng(seed)).any()


def test_densities_stay_within_their_range_under_any_stain():
    density = np.random.default_rng(0).uniform(0, MAX_RELATIVE, (16, 16, 3)).astype(np.float32)
    for seed in range(20):
        out = jitter_stain(density, StainJitter(), np.random.default_rng(seed))
        assert out.min() >= 0.0 and out.max() <= MAX_RELATIVE


def test_black_is_drawn_on_some_canvases_and_is_an_opacity():
    shades = [draw_black(64, 80, 0.58, np.random.default_rng(seed)) for seed in range(200)]
    drawn = [shade for shade in shades if shade is not None]
    assert 30 < len(drawn) < 120
    assert all(shade.shape == (64, 80) for shade in drawn)
    assert min(shade.min() for shade in drawn) >= 0.0
    assert max(shade.max() for shade in drawn) <= 1.0


def test_what_is_opaque_comes_out_dark_and_the_rest_does_not():
    shade = np.zeros((32, 32), np.float32)
    shade[:, 16:] = 1.0
    rgb, glass = expose(np.zeros((32, 32, 3), np.float32), shade, np.random.default_rng(5))
    assert rgb[:, 24:].max() < 90
    assert np.abs(rgb[:, :8].mean(axis=(0, 1)) - glass).max() < 10


def test_a_cell_whose_centre_is_hidden_has_no_label_and_its_rest_no_loss():
    canvas = piece((30.0, 30.0, 13.0, 1.0), (70.0, 70.0, 13.0, 1.0))
    hidden = np.zeros((100, 100), bool)
    hidden[:, :32] = True
    hide_cells(canvas, hidden, 0.58)
    assert canvas.labels[:, 0].tolist() == [70.0]
    assert canvas.ignored[30, 35] and not canvas.ignored[30, 29] and not canvas.ignored[70, 70]


def test_red_cells_are_darkened_and_labelled_cells_are_not():
    darkened = 0
    for seed in range(30):
        one = piece((30.0, 30.0, 7.0, 1.0))
        darken_cells(one, 0.58, np.random.default_rng(seed))
        assert one.density[30, 30].max() == 1.0
        darkened += one.density[70, 70].max() > 1.05
        assert one.density.min() >= 0.0 and one.density[0, 0].max() == 0.0
    assert 2 <= darkened <= 15
