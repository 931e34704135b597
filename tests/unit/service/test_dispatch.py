from datetime import timedelta

import pytest
from redis.exceptions import RedisError
from rq import Queue
from sqlalchemy import update

from service.contract.failure import FailureCode
from service.contract.scan import Priority, ScanState
from service.dispatch import GRACE, Dispatcher, hand_over
from service.jobs import job_id
from service.store.columns import now
from service.store.engine import writing
from service.store.tables import ScanRow
from tests.installations import opened, waiting_scan


@pytest.fixture
def dispatcher(installation):
    return Dispatcher(installation)


def change(installation, scan_id, **values):
    with writing(installation.engine) as connection:
        connection.execute(update(ScanRow).where(ScanRow.id == scan_id).values(**values))


def state_of(installation, scan_id):
    return installation.scans.get(scan_id)


def test_what_the_queue_lost_is_handed_over_again(installation, dispatcher):
    names = [waiting_scan(installation, n) for n in (1, 2)]
    dispatcher.run_once()
    jobs = {job_id(name, 1) for name in names}
    assert installation.jobs.waiting() == jobs
    installation.redis.flushall()
    for name in names:
        change(installation, name, enqueued_at=now() - 2 * GRACE)
    dispatcher.run_once()
    assert installation.jobs.waiting() == jobs


def test_what_waits_is_not_handed_over_twice(installation, dispatcher):
    waiting_scan(installation)
    for _ in range(3):
        dispatcher.run_once()
    assert installation.jobs.depth() == {Priority.INTERACTIVE: 1, Priority.ARCHIVE: 0}


@pytest.mark.parametrize(("past_grace_s", "depth"), [(-5, 0), (5, 1)])
def test_a_job_may_be_on_its_way_for_a_while(installation, dispatcher, past_grace_s, depth):
    scan_id = waiting_scan(installation)
    handed_over = now() - GRACE - timedelta(seconds=past_grace_s)
    change(installation, scan_id, enqueued_at=handed_over)
    dispatcher.run_once()
    assert len(installation.jobs.waiting()) == depth


@pytest.mark.parametrize(("due_in_s", "depth"), [(60, 0), (-1, 1)])
def test_a_scan_waits_for_its_next_try(installation, dispatcher, due_in_s, depth):
    scan_id = waiting_scan(installation)
    change(installation, scan_id, not_before=now() + timedelta(seconds=due_in_s))
    dispatcher.run_once()
    assert len(installation.jobs.waiting()) == depth


@pytest.mark.parametrize(("scans", "depth"), [(3, 3), (4, 3)])
def test_only_so_many_archive_scans_stand_in_the_queue(queue, tmp_path, empty_sqlite, scans, depth):
    with opened(
        tmp_path / "d", queue.url, empty_sqlite=empty_sqlite, archive_ahead=3
    ) as installation:
        installation.redis.flushall()
        names = [waiting_scan(installation, n, priority=Priority.ARCHIVE) for n in range(scans)]
        urgent = [waiting_scan(installation, 100 + n) for n in range(5)]
        for _ in range(2):
            Dispatcher(installation).run_once()
        assert installation.jobs.depth() == {Priority.INTERACTIVE: 5, Priority.ARCHIVE: depth}
        assert installation.jobs.waiting() == {job_id(n, 1) for n in names[:depth] + urgent}


def test_workers_take_what_is_urgent_before_the_archive(installation, dispatcher):
    archive = waiting_scan(installation, 1, priority=Priority.ARCHIVE)
    dispatcher.run_once()
    urgent = waiting_scan(installation, 2)
    dispatcher.run_once()
    queues = list(installation.jobs.queues.values())
    taken = [Queue.dequeue_any(queues, None, installation.redis) for _ in range(2)]
    assert [job.id for job, _ in taken] == [job_id(urgent, 1), job_id(archive, 1)]


@pytest.mark.parametrize(("silent_s", "lost"), [(-2, False), (2, True)])
def test_a_worker_that_is_silent_too_long_is_given_up(installation, dispatcher, silent_s, lost):
    scan_id = waiting_scan(installation)
    assert installation.lifecycle.claim(scan_id, 1, "w")
    limit = installation.settings.lost_after_s
    change(installation, scan_id, seen_at=now() - timedelta(seconds=limit + silent_s))
    assert dispatcher.give_up_lost() == ([scan_id] if lost else [])
    scan = state_of(installation, scan_id)
    if lost:
        assert (scan.state, scan.tries) == (ScanState.QUEUED, 1)
        assert scan.failure.code is FailureCode.WORKER_LOST
        assert f"{limit:g} s" in scan.failure.message
    else:
        assert scan.state is ScanState.RUNNING


def test_a_queue_that_is_away_delays_and_loses_nothing(valkey, tmp_path, empty_sqlite):
    with opened(tmp_path / "d", valkey.url, empty_sqlite=empty_sqlite) as installation:
        scan_id = waiting_scan(installation)
        valkey.kill()
        assert not hand_over(installation, installation.scans.row(scan_id))
        with pytest.raises(RedisError):
            Dispatcher(installation).run_once()
        assert state_of(installation, scan_id).state is ScanState.QUEUED
        valkey.start()
        Dispatcher(installation).run_once()
        assert installation.jobs.waiting() == {job_id(scan_id, 1)}
