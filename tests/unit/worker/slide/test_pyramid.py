import pytest

from worker.slide.geometry import Size
from worker.slide.pyramid import TiledLevel, choose_level, fits_pyramid, measure_downsample

BASE = Size(10_001, 7_003)


def level(downsample: float) -> TiledLevel:
    return TiledLevel(Size(100, 100), downsample, Size(256, 256))


LEVELS = (level(1), level(4), level(16))


def test_a_level_rounded_down_has_a_whole_downsample() -> None:
    assert measure_downsample(BASE, Size(10_001 // 4, 7_003 // 4)) == 4


def test_a_level_rounded_up_has_a_whole_downsample() -> None:
    assert measure_downsample(BASE, Size(-(-10_001 // 4), -(-7_003 // 4))) == 4


def test_a_tiny_level_is_taken_for_a_power_of_two() -> None:
    assert measure_downsample(Size(1701, 1500), Size(1701 // 64, 1500 // 64)) == 64


def test_a_downsample_of_three_is_found() -> None:
    assert measure_downsample(BASE, Size(10_001 // 3, 7_003 // 3)) == 3


def test_a_level_no_whole_number_explains_has_the_mean_ratio() -> None:
    assert measure_downsample(Size(10_000, 5_000), Size(4_000, 2_000)) == 2.5


def test_a_smaller_image_of_the_same_shape_fits() -> None:
    assert fits_pyramid(BASE, Size(2500, 1750))


def test_a_label_of_another_shape_does_not_fit() -> None:
    assert not fits_pyramid(BASE, Size(500, 600))


def test_an_image_without_pixels_does_not_fit() -> None:
    assert not fits_pyramid(BASE, Size(0, 1750))


def test_an_image_of_the_same_size_does_not_fit() -> None:
    assert not fits_pyramid(BASE, BASE)


@pytest.mark.parametrize(
    ("step", "index"), [(0.5, 0), (1, 0), (3.9, 0), (4, 1), (15, 1), (16, 2), (500, 2)]
)
def test_the_coarsest_level_that_is_fine_enough_is_chosen(step: float, index: int) -> None:
    assert choose_level(LEVELS, step, 0.01) == index


def test_a_level_within_the_tolerance_counts_as_fine_enough() -> None:
    assert choose_level(LEVELS, 3.97, 0.01) == 1
