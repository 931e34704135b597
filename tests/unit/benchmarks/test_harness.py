from contextlib import contextmanager

import pytest

from benchmarks.harness import Case, run_rounds
from benchmarks.spread import measure_spread, pair_ratios


def noting_case(name: str, log: list[str]) -> Case:
    @contextmanager
    def prepare():
        log.append(f"open {name}")
        yield lambda: log.append(name)
        log.append(f"close {name}")

    return Case(name, prepare)


def test_every_round_runs_every_case_and_begins_with_another_one():
    log: list[str] = []
    run_rounds([noting_case(name, log) for name in "abc"], 3, warm_up=0)
    done = [entry for entry in log if len(entry) == 1]
    assert done == list("abcbcacab")


def test_a_case_is_prepared_and_left_anew_in_every_round():
    log: list[str] = []
    run_rounds([noting_case("a", log)], 2, warm_up=0)
    assert log == ["open a", "a", "close a"] * 2


def test_warm_up_rounds_run_and_are_not_counted():
    log: list[str] = []
    measured = run_rounds([noting_case("a", log)], 2, warm_up=3)
    assert log.count("a") == 5
    assert len(measured["a"].wall_s) == len(measured["a"].cpu_s) == 2
    assert len(measured["a"].prepare_s) == 2


@pytest.mark.parametrize(("names", "rounds"), [("aa", 1), ("ab", 0)])
def test_cases_of_one_name_and_no_rounds_are_refused(names, rounds):
    with pytest.raises(ValueError, match="round"):
        run_rounds([noting_case(name, []) for name in names], rounds)


def test_ratios_are_taken_round_by_round():
    assert pair_ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


def test_a_drift_that_hits_both_leaves_the_paired_ratio_alone():
    drift = [1.0, 1.5, 4.0, 0.5]
    spread = measure_spread(pair_ratios([2 * d for d in drift], drift))
    assert (spread.median, spread.low, spread.high) == (2.0, 2.0, 2.0)
    assert spread.relative == 0


def test_the_interval_holds_the_median_and_is_the_same_every_time():
    values = [1.0, 1.1, 0.9, 1.3, 1.0]
    spread = measure_spread(values)
    assert spread == measure_spread(values)
    assert 0.9 <= spread.low <= spread.median == 1.0 <= spread.high <= 1.3
