import pytest

from service.client.pace import WINDOW_S, Pace


def test_nothing_is_said_before_something_is_known():
    pace = Pace()
    pace.note(0, 5)
    assert pace.per_hour is None
    assert pace.left_s(10) is None


def test_slides_an_hour_and_time_left_follow_from_what_was_seen():
    pace = Pace()
    pace.note(100, 10)
    pace.note(160, 30)
    assert pace.per_hour == pytest.approx(1200)
    assert pace.left_s(130) == pytest.approx(300)


def test_only_the_last_quarter_of_an_hour_counts():
    pace = Pace()
    for moment, done in ((0, 0), (WINDOW_S, 1000), (2 * WINDOW_S, 1001), (3 * WINDOW_S, 1002)):
        pace.note(moment, done)
    assert pace.per_hour == pytest.approx(3600 / WINDOW_S)


def test_a_batch_that_stands_still_has_no_end():
    pace = Pace()
    pace.note(0, 3)
    pace.note(60, 3)
    assert pace.left_s(10) is None
