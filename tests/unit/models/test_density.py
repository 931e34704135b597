import numpy as np

from models.density import MAX_DENSITY, MAX_RELATIVE, optical_density, relative_density


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


def test_a_red_cell_of_any_stain_has_relative_density_one():
    glass = np.array([240.0, 240.0, 240.0])
    for red_cell in ((0.1, 0.2, 0.15), (0.3, 0.7, 0.3)):
        rgb = (241.0 * np.exp(-np.array([[red_cell]])) - 1.0).round().astype(np.uint8)
        assert np.allclose(relative_density(rgb, glass, np.array(red_cell)), 1.0, atol=0.03)


def test_black_is_cut_to_the_highest_relative_density():
    rgb = np.zeros((1, 1, 3), dtype=np.uint8)
    assert (relative_density(rgb, np.array([250, 250, 250]), np.full(3, 0.2)) == MAX_RELATIVE).all()
