from concurrent.futures import ThreadPoolExecutor

import pytest

from service.contract.failure import AnalysisError, FailureCode
from service.contract.scan import Priority, ScanState, Stage
from service.contract.submission import ScanMetadata
from service.store.columns import now
from service.store.creation import ClientRequest, IdempotencyMismatch, NewScan, SlideSource
from service.store.lifecycle import Lifecycle, Retries
from service.store.scan_rows import ScanMissing, ScanNotOver
from service.store.scans import ScanFilter, Scans
from tests.analyses import cells_with, report_of

MODEL = "2" * 64
SLIDE = SlideSource(size_bytes=1000, format="tiff", sha256="a" * 64)
LOST = AnalysisError(FailureCode.WORKER_LOST, "killed by signal 9").failure
UNREADABLE = AnalysisError(FailureCode.SLIDE_UNREADABLE, "truncated").failure


@pytest.fixture
def scans(engine):
    return Scans(engine)


@pytest.fixture
def lifecycle(engine):
    return Lifecycle(engine, Retries(max_attempts=3, backoff_s=2))


def create(scans: Scans, slide: SlideSource = SLIDE, request=None, **metadata):
    return scans.create(
        NewScan(
            slide, ScanMetadata(**metadata), submitted_by="lis", model_sha256=MODEL, request=request
        )
    )


def another(number: int) -> SlideSource:
    return SlideSource(size_bytes=1000, sha256=f"{number:064x}")


def report():
    return report_of(cells_with({}))[0]


class TestCreating:
    def test_a_new_scan_waits_with_what_was_asked(self, scans):
        created = create(scans, um_per_px=0.1, accession="A-1", priority=Priority.ARCHIVE)
        assert created.fresh
        scan = scans.get(created.scan.scan_id)
        assert scan.state is ScanState.QUEUED
        assert scan.queue_position == 1
        assert (scan.accession, scan.priority) == ("A-1", Priority.ARCHIVE)
        assert scan.parameters.um_per_px == 0.1
        assert scan.slide_sha256 == SLIDE.sha256

    def test_the_same_slide_model_and_parameters_give_the_same_scan(self, scans):
        first, second = create(scans), create(scans)
        assert not second.fresh
        assert second.scan.scan_id == first.scan.scan_id

    @pytest.mark.parametrize(
        "changes", [{"um_per_px": 0.2}, {"region": "all"}, {"slide": another(1)}, {"force": True}]
    )
    def test_anything_that_can_change_the_result_gives_another_scan(self, scans, changes):
        assert create(scans).scan.scan_id != create(scans, **changes).scan.scan_id

    def test_a_slide_of_another_order_never_gets_that_orders_report(self, scans):
        first = create(scans, accession="A-1")
        second = create(scans, accession="A-2")
        assert second.fresh
        assert (first.scan.accession, second.scan.accession) == ("A-1", "A-2")
        for accession, made in (("A-1", first), ("A-2", second)):
            again = create(scans, accession=accession)
            assert (again.fresh, again.scan.scan_id) == (False, made.scan.scan_id)

    def test_a_scan_without_labels_gets_those_that_come_later(self, scans):
        first = create(scans)
        named = create(scans, accession="A-1")
        assert (named.fresh, named.scan.accession) == (False, "A-1")
        assert create(scans).scan.scan_id == first.scan.scan_id
        assert create(scans, accession="A-1", specimen="S-1").scan.specimen == "S-1"
        assert create(scans, accession="A-1", specimen="S-2").fresh

    def test_another_model_gives_another_scan(self, scans):
        create(scans)
        other = scans.create(NewScan(SLIDE, ScanMetadata(), "lis", "3" * 64))
        assert other.fresh

    def test_twenty_equal_requests_at_once_make_one_scan(self, scans):
        with ThreadPoolExecutor(8) as threads:
            created = list(threads.map(lambda _: create(scans), range(20)))
        assert len({c.scan.scan_id for c in created}) == 1
        assert sum(c.fresh for c in created) == 1

    def test_a_repeated_client_request_finds_its_scan_even_if_forced(self, scans):
        request = ClientRequest("key-1", "f" * 64)
        first = create(scans, request=request, force=True)
        again = create(scans, request=request, force=True)
        assert (again.scan.scan_id, again.fresh) == (first.scan.scan_id, False)

    def test_a_client_key_used_for_something_else_is_refused(self, scans):
        create(scans, request=ClientRequest("key-1", "f" * 64))
        with pytest.raises(IdempotencyMismatch):
            create(scans, slide=another(1), request=ClientRequest("key-1", "e" * 64))

    def test_a_slide_whose_scan_failed_is_scanned_again(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        lifecycle.fail(scan_id, 1, UNREADABLE)
        assert create(scans).fresh

    def test_a_slide_that_waits_behind_an_archive_comes_forward_when_somebody_wants_it(self, scans):
        first = create(scans, priority=Priority.ARCHIVE)
        assert scans.get(first.scan.scan_id).priority is Priority.ARCHIVE
        again = create(scans)
        assert (again.fresh, again.scan.priority) == (False, Priority.INTERACTIVE)
        assert create(scans, priority=Priority.ARCHIVE).scan.priority is Priority.INTERACTIVE

    def test_who_joins_an_open_scan_is_told_of_its_end_if_nobody_else_is(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        create(scans, callback_url="https://lis.example/1")
        create(scans, callback_url="https://lis.example/2")
        assert scans.row(scan_id).callback_url == "https://lis.example/1"
        lifecycle.claim(scan_id, 1, "w")
        lifecycle.succeed(scan_id, 1, report())
        create(scans, callback_url="https://lis.example/3")
        assert scans.row(scan_id).callback_url == "https://lis.example/1"

    def test_a_file_that_changed_at_its_uri_is_another_slide(self, scans):
        first = SlideSource(size_bytes=5, uri="/slides/a.svs", version="1")
        second = SlideSource(size_bytes=5, uri="/slides/a.svs", version="2")
        assert create(scans, slide=first).fresh
        assert create(scans, slide=second).fresh
        assert not create(scans, slide=first).fresh


class TestRunning:
    def test_one_worker_gets_a_scan(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        with ThreadPoolExecutor(8) as threads:
            rows = list(threads.map(lambda n: lifecycle.claim(scan_id, 1, f"w{n}"), range(8)))
        assert sum(row is not None for row in rows) == 1
        scan = scans.get(scan_id)
        assert (scan.state, scan.stage) == (ScanState.RUNNING, Stage.OPENING)
        assert scan.started_at is not None

    def test_progress_is_seen(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        assert lifecycle.advance(scan_id, 1, Stage.DETECTING, 3, 10)
        scan = scans.get(scan_id)
        assert scan.progress is not None
        assert (scan.stage, scan.progress.done, scan.progress.total) == (Stage.DETECTING, 3, 10)

    def test_success_is_kept_with_its_summary(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        assert lifecycle.succeed(scan_id, 1, report())
        scan = scans.get(scan_id)
        assert scan.state is ScanState.SUCCEEDED
        assert scan.summary is not None
        assert scan.summary.n_leukocytes == 0
        assert scans.row(scan_id).result_attempt == 1

    def test_a_failure_that_may_pass_is_tried_again_later(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        assert lifecycle.fail(scan_id, 1, LOST) is ScanState.QUEUED
        scan, row = scans.get(scan_id), scans.row(scan_id)
        assert (scan.state, scan.tries, scan.failure) == (ScanState.QUEUED, 1, LOST)
        assert row.attempt == 2
        assert row.not_before > now()

    def test_tries_are_bounded(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        states = []
        for attempt in (1, 2, 3):
            assert lifecycle.claim(scan_id, attempt, "w") is not None
            states.append(lifecycle.fail(scan_id, attempt, LOST))
        assert states == [ScanState.QUEUED, ScanState.QUEUED, ScanState.FAILED]
        assert scans.get(scan_id).failure == LOST

    def test_what_no_slide_causes_is_waited_out_longer(self):
        retries = Retries(max_attempts=3, backoff_s=2)
        assert not retries.allow(FailureCode.WORKER_LOST, 3)
        assert retries.allow(FailureCode.STORAGE_FULL, 29)
        assert not retries.allow(FailureCode.STORAGE_FULL, 30)
        assert retries.wait(1).total_seconds() == 2
        assert retries.wait(10_000).total_seconds() == 600

    def test_a_failure_of_the_slide_is_final_at_once(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        assert lifecycle.fail(scan_id, 1, UNREADABLE) is ScanState.FAILED

    def test_a_released_scan_waits_and_has_lost_no_try(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        assert lifecycle.release(scan_id, 1)
        assert scans.get(scan_id).tries == 0
        assert lifecycle.claim(scan_id, 2, "w") is not None

    def test_a_worker_that_was_given_up_changes_nothing(self, scans, lifecycle):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "first")
        lifecycle.fail(scan_id, 1, LOST)
        lifecycle.claim(scan_id, 2, "second")
        assert not lifecycle.touch(scan_id, 1)
        assert not lifecycle.advance(scan_id, 1, Stage.DETECTING, 1, 2)
        assert not lifecycle.succeed(scan_id, 1, report())
        assert lifecycle.fail(scan_id, 1, UNREADABLE) is None
        assert not lifecycle.release(scan_id, 1)
        assert scans.get(scan_id).state is ScanState.RUNNING
        assert lifecycle.succeed(scan_id, 2, report())

    @pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
    def test_a_scan_that_is_over_is_never_left(self, scans, lifecycle, end):
        scan_id = create(scans).scan.scan_id
        lifecycle.claim(scan_id, 1, "w")
        if end == "succeed":
            lifecycle.succeed(scan_id, 1, report())
        elif end == "fail":
            lifecycle.fail(scan_id, 1, UNREADABLE)
        else:
            scans.cancel(scan_id)
        before = scans.get(scan_id)
        scans.cancel(scan_id)
        lifecycle.claim(scan_id, 1, "w")
        lifecycle.succeed(scan_id, 1, report())
        lifecycle.fail(scan_id, 1, LOST)
        lifecycle.release(scan_id, 1)
        assert scans.get(scan_id) == before

    def test_another_model_than_promised_does_not_stand_for_it(self, scans, lifecycle):
        created = scans.create(NewScan(SLIDE, ScanMetadata(), "lis", "9" * 64))
        lifecycle.claim(created.scan.scan_id, 1, "w")
        lifecycle.succeed(created.scan.scan_id, 1, report())
        again = scans.create(NewScan(SLIDE, ScanMetadata(), "lis", "9" * 64))
        assert again.fresh


class TestLookingUp:
    def test_lists_are_newest_first_and_go_on_where_they_stopped(self, scans):
        made = [create(scans, slide=another(n)).scan.scan_id for n in range(5)]
        first = scans.list(ScanFilter(), limit=3)
        rest = scans.list(ScanFilter(), limit=3, before=first[-1].scan_id)
        assert [s.scan_id for s in [*first, *rest]] == sorted(made, reverse=True)

    def test_lists_are_filtered(self, scans):
        wanted = create(scans, slide=another(1), accession="A-1").scan.scan_id
        create(scans, slide=another(2), accession="A-2")
        found = scans.list(ScanFilter(accession="A-1", state=ScanState.QUEUED), limit=10)
        assert [s.scan_id for s in found] == [wanted]
        assert scans.list(ScanFilter(state=ScanState.FAILED), limit=10) == []

    def test_an_unknown_scan_is_missing(self, scans):
        with pytest.raises(ScanMissing):
            scans.get("nobody")

    def test_the_queue_position_counts_those_before_in_the_same_queue(self, scans, lifecycle):
        first = create(scans, slide=another(1)).scan.scan_id
        create(scans, slide=another(2), priority=Priority.ARCHIVE)
        second = create(scans, slide=another(3)).scan.scan_id
        assert scans.get(second).queue_position == 2
        lifecycle.claim(first, 1, "w")
        assert scans.get(second).queue_position == 1


class TestPurging:
    def test_a_scan_that_is_not_over_is_kept(self, scans):
        scan_id = create(scans).scan.scan_id
        with pytest.raises(ScanNotOver):
            scans.purge(scan_id)
        assert scans.get(scan_id)

    def test_a_purged_scan_is_gone_and_its_slide_may_come_again(self, scans):
        scan_id = create(scans, request=ClientRequest("k", "f" * 64)).scan.scan_id
        scans.cancel(scan_id)
        assert scans.purge(scan_id).slide_sha256 == SLIDE.sha256
        with pytest.raises(ScanMissing):
            scans.get(scan_id)
        assert create(scans, request=ClientRequest("k", "f" * 64)).fresh
