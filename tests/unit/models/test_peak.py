import pytest

from models.catalogue import DEFAULT_DETECTOR, locate_weights
from models.detector_card import load_detector_card
from models.peak import Peak, judge_peaks, merge_peaks

CARD = load_detector_card(locate_weights(DEFAULT_DETECTOR)).model_copy(
    update={
        "um_per_px": 0.5,
        "threshold": 0.61,
        "touching": 0.5,
        "touching_um": (8.5, 15.0),
        "min_distance_um": 6.0,
    }
)


def at_um(x: float, score: float) -> Peak:
    return Peak(x / 0.5, 0.0, 13.0, score)


@pytest.mark.parametrize(
    ("away_um", "score", "counts"),
    [
        (8.6, 0.55, True),
        (14.9, 0.5, True),
        (8.4, 0.55, False),
        (15.1, 0.55, False),
        (12.0, 0.49, False),
    ],
)
def test_what_touches_a_leukocyte_needs_a_lower_score(away_um, score, counts):
    leukocyte, other = at_um(100.0, 0.61), at_um(100.0 + away_um, score)
    cells, doubtful = judge_peaks([other, leukocyte], CARD)
    assert cells == ([leukocyte, other] if counts else [leukocyte])
    assert doubtful == ([] if counts else [other])


def test_by_itself_or_beside_one_of_its_kind_it_is_doubtful():
    alone = [at_um(0.0, 0.6), at_um(10.0, 0.55)]
    assert judge_peaks(alone, CARD) == ([], alone)
    chain = [at_um(100.0, 0.9), at_um(110.0, 0.55), at_um(120.0, 0.55)]
    assert judge_peaks(chain, CARD) == (chain[:2], chain[2:])


def test_a_second_peak_of_one_of_two_leukocytes_counts_beside_neither():
    pair = [at_um(100.0, 0.9), at_um(112.0, 0.8)]
    second = at_um(119.0, 0.55)  # 19 um from the first, 7 from the other
    assert judge_peaks([*pair, second], CARD) == (pair, [second])


@pytest.mark.parametrize("scores", [(), (0.4,), (0.9,)])
def test_few_peaks_are_judged_too(scores):
    cells, doubtful = judge_peaks([at_um(0.0, score) for score in scores], CARD)
    assert [peak.score for peak in cells + doubtful] == list(scores)


def test_merging_keeps_the_higher_of_two_peaks_that_are_near():
    near = [Peak(10.0, 10.0, 13.0, 0.6), Peak(13.0, 14.0, 13.0, 0.9)]
    assert merge_peaks(near, 5.0) == [near[1]]


def test_merging_keeps_two_peaks_just_too_far_apart():
    far = [Peak(10.0, 10.0, 13.0, 0.6), Peak(13.0, 14.0, 13.0, 0.9)]
    assert len(merge_peaks(far, 4.99)) == 2


def test_a_dropped_peak_drops_no_other():
    chain = [Peak(x, 0.0, 13.0, score) for x, score in ((0.0, 0.9), (4.0, 0.8), (8.0, 0.7))]
    assert [peak.x for peak in merge_peaks(chain, 5.0)] == [0.0, 8.0]
