import numpy as np
import pytest

from worker.model.schedule import Batch, Closed, Job, Key, Schedule

PATCHES = Key("classify", limit=8)
FIELDS = Key("detect", limit=2)


def job(rows: int, key: Key = PATCHES, first: int = 0) -> Job:
    return Job(key, np.arange(first, first + rows, dtype=np.float32)[:, None])


def take(schedule: Schedule) -> Batch:
    batch = schedule.take()
    assert batch is not None
    return batch


def compute(batch: Batch) -> None:
    """A network that returns what it is given."""
    batch.scatter(batch.gather().astype(np.float32))


def put(*jobs: Job) -> Schedule:
    schedule = Schedule()
    for each in jobs:
        schedule.put(each)
    return schedule


def test_rows_of_two_requests_share_a_batch_and_each_gets_its_own_results():
    one, other = job(3), job(4, first=100)
    batch = take(put(one, other))
    assert len(batch.gather()) == 7
    compute(batch)
    for each in (one, other):
        assert each.finished.is_set()
        assert np.array_equal(np.concatenate(each.results), each.rows)


def test_a_batch_holds_as_many_rows_as_its_limit_and_no_more():
    assert len(take(put(job(8))).gather()) == 8
    assert len(take(put(job(9))).gather()) == 8


def test_a_large_request_delays_a_small_one_by_one_batch():
    large, small = job(1000), job(8, first=5000)
    schedule = put(large, small)
    compute(take(schedule))
    assert not small.finished.is_set()
    compute(take(schedule))
    assert small.finished.is_set()
    assert large.filled == 8


def test_a_request_split_over_many_batches_is_put_together_in_order():
    large, other = job(21), job(6, first=100)
    schedule = put(large, other)
    while not (large.finished.is_set() and other.finished.is_set()):
        compute(take(schedule))
    assert np.array_equal(np.concatenate(large.results), large.rows)
    assert np.array_equal(np.concatenate(other.results), other.rows)


def test_rows_for_different_networks_are_never_in_one_batch_and_take_turns():
    schedule = put(job(16), job(4, FIELDS))
    taken = [take(schedule).key for _ in range(4)]
    assert taken == [PATCHES, FIELDS, PATCHES, FIELDS]


def test_a_withdrawn_request_is_not_computed():
    gone, stays = job(4), job(4, first=100)
    schedule = put(gone, stays)
    schedule.withdraw(gone)
    assert np.array_equal(take(schedule).gather(), stays.rows)


def test_rows_left_of_a_request_are_dropped_when_it_is_withdrawn():
    schedule = put(job(12), job(8, FIELDS))
    batch = take(schedule)
    schedule.withdraw(batch.parts[0][0])
    assert take(schedule).key == FIELDS
    assert take(schedule).key == FIELDS


def test_closing_fails_what_waits_and_what_still_comes():
    waiting, late = job(4), job(4)
    schedule = put(waiting)
    schedule.close()
    schedule.put(late)
    assert schedule.take() is None
    for each in (waiting, late):
        assert each.finished.is_set()
        assert isinstance(each.error, Closed)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64])
def test_every_row_is_computed_once_whatever_the_mix(rows):
    jobs = [job(rows, first=1000 * i) for i in range(5)]
    schedule = put(*jobs)
    seen: list[float] = []
    while not all(each.finished.is_set() for each in jobs):
        batch = take(schedule)
        seen += batch.gather()[:, 0].tolist()
        compute(batch)
    assert sorted(seen) == sorted(np.concatenate([each.rows[:, 0] for each in jobs]).tolist())
