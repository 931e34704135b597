import numpy as np

from models.density import MAX_DENSITY, optical_density


def test_glass_and_all_brighter_pixels_have_density_zero():
    rgb = np.array([[[200, 220, 180], [255, 255, 255]]], dtype=np.uint8)
    density = optical_density(rgb, np.array([200, 220, 180]))
    assert density.shape == (3, 1, 2)
    assert not density.any()


def test_density_is_the_natural_logarithm_of_the_transmission():
    rgb = np.full((1, 1, 3), 99, dtype=np.uint8)
    density = optical_density(rgb, np.array([199, 199, 199]))
    np.testing.assert_allclose(density, np.log(2), rtol=1e-6)


def test_black_is_cut_to_the_highest_density():
    rgb = np.zeros((1, 1, 3), dtype=np.uint8)
    assert (optical_density(rgb, np.array([250, 250, 250])) == MAX_DENSITY).all()
