import math

import numpy as np
import pytest

from models.peak import Peak
from models.training.detector.evaluate import FieldOutcome, match_peaks, sum_outcomes

BOX = [10.0, 10.0, 30.0, 30.0]


def match(peaks, boxes, slivers=None):
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    return match_peaks(
        [Peak(x, y, 13.0, score) for x, y, score in peaks],
        boxes,
        np.zeros(len(boxes), bool) if slivers is None else np.array(slivers),
    )


def test_a_peak_on_the_rim_of_a_box_finds_it_and_one_outside_does_not():
    assert match([(30.0, 20.0, 0.9)], [BOX]) == (1, 0, 0)
    assert match([(30.1, 20.0, 0.9)], [BOX]) == (0, 1, 1)


def test_a_second_peak_in_a_box_is_false():
    assert match([(20.0, 20.0, 0.9), (22.0, 20.0, 0.8)], [BOX]) == (1, 0, 1)


def test_a_peak_in_two_boxes_takes_the_one_with_the_nearer_centre():
    overlapping = [20.0, 10.0, 40.0, 30.0]
    assert match([(26.0, 20.0, 0.9), (12.0, 20.0, 0.5)], [BOX, overlapping]) == (2, 0, 0)


def test_a_sliver_is_neither_wanted_nor_counted_against():
    assert match([(20.0, 20.0, 0.9)], [BOX], [True]) == (0, 0, 0)
    assert match([], [BOX], [True]) == (0, 0, 0)


def test_scores_of_a_source_without_leukocytes_have_no_recall():
    score = sum_outcomes([FieldOutcome("chula", 0, 0, 1), FieldOutcome("chula", 0, 0, 0)])
    assert math.isnan(score.recall)
    assert score.false_per_field == 0.5


def test_scores_are_sums_over_fields():
    score = sum_outcomes([FieldOutcome("a", 3, 1, 0), FieldOutcome("a", 0, 0, 1)])
    assert score.recall == pytest.approx(0.75)
    assert score.precision == pytest.approx(0.75)
