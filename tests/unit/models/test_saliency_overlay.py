import numpy as np
import pytest

from models.errors import PatchShapeError
from models.saliency_overlay import normalise_saliency, paint_saliency


def test_a_map_is_scaled_to_its_percentile_and_cut_there():
    ramp = np.linspace(0, 10, 101, dtype=np.float32).reshape(1, 101, 1)
    scaled = normalise_saliency(ramp, percentile=50)
    assert scaled[0, 25, 0] == pytest.approx(0.5)
    assert (scaled[0, 50:, 0] == 1).all()


def test_the_scale_of_one_map_does_not_touch_another():
    maps = np.random.default_rng(0).random((2, 20, 20)).astype(np.float32)
    maps[1] *= 1e-12
    scaled = normalise_saliency(maps)
    np.testing.assert_allclose(scaled[0], normalise_saliency(maps[:1])[0])
    assert scaled[1].max() == 1


def test_an_empty_map_stays_empty_and_a_single_pixel_is_not_lost():
    maps = np.zeros((2, 20, 20), np.float32)
    maps[1, 3, 4] = 1e-9
    scaled = normalise_saliency(maps)
    assert scaled[0].max() == 0
    assert scaled[1, 3, 4] == 1
    assert normalise_saliency(maps[:0]).shape == (0, 20, 20)


def test_only_salient_pixels_are_coloured():
    patch = np.full((10, 10, 3), (200, 100, 50), np.uint8)
    saliency = np.zeros((10, 10), np.float32)
    saliency[5, 5] = 2.0
    painted = paint_saliency(patch, saliency, strength=1.0)
    assert painted.dtype == np.uint8
    assert tuple(painted[5, 5]) == (252, 255, 164)
    grey = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (np.delete(painted.reshape(-1, 3), 55, axis=0) == grey).all()


def test_a_map_of_another_size_is_refused():
    with pytest.raises(PatchShapeError, match=r"\(10, 10, 3\)"):
        paint_saliency(np.zeros((10, 10, 3), np.uint8), np.zeros((5, 5), np.float32))
