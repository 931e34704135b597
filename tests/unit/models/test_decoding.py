import numpy as np
import pytest

from models.decoding import find_peaks, join_verdicts, read_peaks
from models.nets.heatmap import OUTPUT_STRIDE


def heat_of(*cells: tuple[int, int, float]) -> np.ndarray:
    heat = np.zeros((20, 20), np.float32)
    for row, col, value in cells:
        heat[row, col] = value
    return heat


def decode(heat: np.ndarray, reach: float = 3.0):
    score = np.zeros_like(heat)
    at = find_peaks(heat, 0.5, reach)
    score[at] = heat[at]
    return read_peaks(heat, np.full_like(heat, 13.0), score, threshold=0.5)


def test_heat_at_the_threshold_is_a_peak_and_below_it_is_none():
    assert len(decode(heat_of((5, 5, 0.5)))) == 1
    assert decode(heat_of((5, 5, 0.499))) == []


def test_of_two_peaks_within_reach_the_higher_survives():
    peaks = decode(heat_of((5, 5, 0.9), (5, 8, 0.8)))
    assert [round(peak.score, 3) for peak in peaks] == [0.9]


def test_two_peaks_just_beyond_reach_both_survive():
    assert len(decode(heat_of((5, 5, 0.9), (5, 9, 0.8)))) == 2


def test_of_two_equal_peaks_within_reach_exactly_one_survives():
    assert len(decode(heat_of((5, 5, 0.9), (5, 7, 0.9)))) == 1


def test_a_peak_in_the_corner_has_its_centre_there():
    (peak,) = decode(heat_of((0, 0, 0.9)))
    assert (peak.x, peak.y) == (0.5 * OUTPUT_STRIDE, 0.5 * OUTPUT_STRIDE)


def test_the_centre_is_found_between_cells():
    rows, cols = np.mgrid[:20, :20]
    heat = np.exp(-((cols - 9.3) ** 2 + (rows - 10.6) ** 2) / 8).astype(np.float32)
    (peak,) = decode(heat)
    assert peak.x == pytest.approx((9.3 + 0.5) * OUTPUT_STRIDE, abs=0.1)
    assert peak.y == pytest.approx((10.6 + 0.5) * OUTPUT_STRIDE, abs=0.1)


def test_a_peak_whose_score_is_below_the_threshold_is_none():
    heat, score = heat_of((5, 5, 0.9), (12, 5, 0.9)), heat_of((5, 5, 0.7), (12, 5, 0.69))
    (peak,) = read_peaks(heat, np.full_like(heat, 13.0), score, threshold=0.7)
    assert peak.y == 5.5 * OUTPUT_STRIDE
    assert peak.score == pytest.approx(0.7)


def test_peaks_come_sorted_by_y_then_x():
    peaks = decode(heat_of((9, 2, 0.6), (2, 15, 0.7), (2, 4, 0.8)))
    assert [(peak.y, peak.x) for peak in peaks] == sorted((peak.y, peak.x) for peak in peaks)


def test_an_undecided_verdict_leaves_the_heat_and_a_clear_one_moves_it_either_way():
    heat = np.array([0.3, 0.3, 0.3], np.float32)
    score = join_verdicts(heat, np.array([0.0, 4.0, -4.0], np.float32), weight=0.5)
    assert score[0] == pytest.approx(0.3, abs=1e-6)
    assert score[1] == pytest.approx(1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 2.0))), abs=1e-6)
    assert score[2] < 0.1


def test_certain_heat_gives_a_finite_score():
    score = join_verdicts(np.array([0.0, 1.0], np.float32), np.zeros(2, np.float32), 0.5)
    assert np.isfinite(score).all() and score[0] < 1e-5 and score[1] > 1 - 1e-5
