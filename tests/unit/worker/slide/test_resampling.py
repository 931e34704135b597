import numpy as np
import pytest
from numpy.typing import NDArray

from tests.slide_files import paint_smear
from worker.slide.resampling import plan_taps, resample


def resample_row(values: list[float], start: float, step: float, count: int) -> list[int]:
    rows, columns = plan_taps(0, step, 1), plan_taps(start, step, count)
    row = np.array(values, np.uint8)[columns.first : columns.stop]
    pixels = np.repeat(np.repeat(row[None, :, None], 3, axis=2), rows.stop - rows.first, axis=0)
    return [int(v) for v in resample(pixels, rows, columns)[0, :, 0]]


def test_whole_steps_on_whole_pixels_copy() -> None:
    taps = plan_taps(7, 1, 5)
    assert taps.is_copy and (taps.first, taps.stop) == (7, 12)


def test_two_pixels_are_averaged() -> None:
    assert resample_row([0, 100, 40, 60], 0, 2, 2) == [50, 50]


def test_a_fractional_interval_is_averaged_by_area() -> None:
    assert resample_row([0, 120, 240], 0, 1.5, 2) == [40, 200]


def test_a_shift_of_half_a_pixel_blends_neighbours() -> None:
    assert resample_row([0, 100, 200], 0.5, 1, 2) == [50, 150]


def test_upsampling_interpolates_between_centres() -> None:
    assert resample_row([0, 0, 100, 100], 1, 0.5, 4) == [0, 25, 75, 100]


def test_positions_left_of_the_slide_are_negative_indices() -> None:
    taps = plan_taps(-3.5, 1, 2)
    assert (taps.first, taps.stop) == (-4, -1)


def weigh(start: float, step: float, count: int) -> tuple[int, NDArray[np.float64]]:
    """First source px, and weights of an average, shape (count, source px)."""
    taps = plan_taps(start, step, count)
    assert taps.matrix is not None
    return taps.first, taps.matrix.toarray().astype(np.float64)


@pytest.mark.parametrize("step", [1.38, 2, 2.9, 17.3])
@pytest.mark.parametrize("start", [0, 0.3, -5.77, 12345.678])
def test_weights_of_every_averaged_pixel_sum_to_one(start: float, step: float) -> None:
    _, weights = weigh(start, step, 300)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights >= 0).all()


@pytest.mark.parametrize("step", [0.3625, 0.5, 0.725, 0.999, 1])
@pytest.mark.parametrize("start", [0, 0.3, -5.77, 12345.678])
def test_a_ramp_is_interpolated_to_a_ramp(start: float, step: float) -> None:
    count = int(240 / step)
    taps = plan_taps(start, step, count)
    ramp = np.arange(taps.stop - taps.first, dtype=np.uint8)
    window = np.repeat(np.repeat(ramp[None, :, None], 3, axis=2), 2, axis=0)
    wanted = start + step * (np.arange(count) + 0.5) - 0.5 - taps.first
    found = resample(window, plan_taps(0, 1, 2), taps)[0, :, 0]
    assert np.abs(found - wanted).max() <= 0.5 + 1e-3


def centre_errors(step: float) -> NDArray[np.float64]:
    """How far the weighted centre of each averaged pixel lies from where it should, px."""
    first, weights = weigh(5.3, step, 1000)
    centres = weights @ (first + np.arange(weights.shape[1]) + 0.5)
    wanted = 5.3 + step * (np.arange(1000) + 0.5)
    return np.asarray(centres - wanted, dtype=np.float64)


@pytest.mark.parametrize("step", [1.38, 2.9, 4.0023])
def test_averaging_shifts_a_pixel_by_what_a_cut_pixel_can_at_most(step: float) -> None:
    assert np.abs(centre_errors(step)).max() < 1 / (8 * step) + 1e-3


@pytest.mark.parametrize("step", [1.38, 2.9, 4.0023])
def test_averaging_does_not_drift(step: float) -> None:
    assert abs(centre_errors(step)[-500:].mean()) < 2e-3


@pytest.mark.parametrize("step", [1.38, 2.9])
def test_windows_on_one_lattice_get_identical_weights(step: float) -> None:
    start = 100_000.123
    first, whole = weigh(start, step, 500)
    offset, part = weigh(start + 217 * step, step, 100)
    columns = slice(offset - first, offset - first + part.shape[1])
    assert (whole[217:317, columns] == part).all()


def reference_average(pixels: NDArray[np.uint8], step: int) -> NDArray[np.float64]:
    height, width, _ = pixels.shape
    return pixels.reshape(height // step, step, width // step, step, 3).mean(axis=(1, 3))


def test_whole_downsampling_equals_the_mean_to_rounding() -> None:
    pixels = paint_smear(300, 300)
    taps = plan_taps(0, 3, 100)
    assert np.abs(resample(pixels, taps, taps) - reference_average(pixels, 3)).max() <= 0.5 + 1e-3
