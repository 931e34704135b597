import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from worker.proportion import clopper_pearson, percent_of

ROUNDING = 1e-4

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_five_percent_of_200_cells_is_2_4_to_9_0() -> None:
    interval = clopper_pearson(10, 200)
    assert interval is not None
    assert [round(end, 1) for end in interval] == [2.4, 9.0]


def test_no_cell_of_100_is_up_to_3_6() -> None:
    assert clopper_pearson(0, 100) == (0.0, 3.6217)


def test_every_cell_of_100_is_down_to_96_4() -> None:
    assert clopper_pearson(100, 100) == (96.3783, 100.0)


def test_nothing_of_nothing_is_no_proportion() -> None:
    assert percent_of(0, 0) is None
    assert clopper_pearson(0, 0) is None


@pytest.mark.parametrize(("count", "total"), [(-1, 10), (11, 10), (1, 0)])
def test_a_count_that_is_no_part_is_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="is not a proportion"):
        clopper_pearson(count, total)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10)])
def test_the_ends_of_a_proportion_are_parts(count: int, total: int) -> None:
    assert clopper_pearson(count, total) is not None


def test_one_cell_in_a_hundred_thousand_is_not_zero() -> None:
    assert percent_of(1, 100_000) == 0.001


@settings(deadline=None)
@given(counts)
def test_the_interval_holds_the_percentage(part: tuple[int, int]) -> None:
    interval, percent = clopper_pearson(*part), percent_of(*part)
    assert interval is not None
    assert percent is not None
    assert 0 <= interval[0] <= percent <= interval[1] <= 100


@settings(deadline=None)
@given(counts)
def test_the_interval_leaves_one_fortieth_on_either_side(part: tuple[int, int]) -> None:
    count, total = part
    interval = clopper_pearson(count, total)
    assert interval is not None
    lower, upper = (end / 100 for end in interval)
    slack = ROUNDING / 100
    if count > 0:
        assert binom.sf(count - 1, total, lower - slack) <= 0.025
        assert binom.sf(count - 1, total, lower + slack) >= 0.025
    if count < total:
        assert binom.cdf(count, total, upper + slack) <= 0.025
        assert binom.cdf(count, total, upper - slack) >= 0.025


@settings(deadline=None)
@given(counts)
def test_the_rest_has_the_mirrored_interval(part: tuple[int, int]) -> None:
    count, total = part
    interval, rest = clopper_pearson(count, total), clopper_pearson(total - count, total)
    assert interval is not None
    assert rest is not None
    assert interval[0] == pytest.approx(100 - rest[1], abs=2 * ROUNDING)


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(0, 500), st.integers(2, 10))
def test_more_cells_of_the_same_share_narrow_the_interval(total: int, count: int, by: int) -> None:
    count = min(count, total)
    few, many = clopper_pearson(count, total), clopper_pearson(count * by, total * by)
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]
