import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from service.contract.batch import BatchSources
from service.contract.scan import ScanParameters, ScanState
from service.contract.submission import ScanMetadata
from service.intake.limits import IntakeLimits
from service.intake.resumable import ResumableUploads
from service.intake.storage import place_slide
from service.problems import ApiProblem
from service.retention import ORPHAN_AGE_S, Retention, purge_scan
from service.store.audit import Action
from service.store.batch_items import NewItem
from service.store.batches import NewBatch
from service.store.columns import now
from service.store.creation import ClientRequest, NewScan, SlideSource
from service.store.engine import writing
from service.store.keys import Role
from service.store.scan_rows import ScanMissing, ScanNotOver
from service.store.scans import ScanFilter
from service.store.tables import (
    AuditRow,
    BatchItemRow,
    BatchRow,
    DeliveryRow,
    IdempotencyRow,
    ScanRow,
    SlideRow,
)
from service.submission import Submission, submit
from tests.installations import finished_scan, waiting_scan
from tests.slide_bytes import slide_bytes

DAY_S = 86_400


@pytest.fixture
def retention(installation):
    return Retention(installation)


def ended_days_ago(installation, days, number=1):
    """A finished scan of a stored slide; everything of it is so old."""
    scan_id = finished_scan(installation, number)
    moment = now() - timedelta(days=days)
    with writing(installation.engine) as connection:
        connection.execute(update(ScanRow).where(ScanRow.id == scan_id).values(finished_at=moment))
        connection.execute(update(SlideRow).values(stored_at=moment - timedelta(minutes=1)))
    age(slide_of(installation, number), days * DAY_S)
    return scan_id


def slide_of(installation, number=1):
    return installation.layout.slide_of(f"{number:064x}")


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def is_there(installation, scan_id):
    return installation.scans.find_row(scan_id) is not None


class TestScans:
    @pytest.mark.parametrize(("days", "kept"), [(364.9, True), (365.1, False)])
    def test_a_scan_is_kept_so_many_days(self, installation, retention, days, kept):
        scan_id = ended_days_ago(installation, days)
        assert retention.expire_scans() == (not kept)
        assert is_there(installation, scan_id) == kept
        assert (installation.layout.results / scan_id).exists() == kept
        assert slide_of(installation).exists() == kept

    def test_its_end_is_in_the_audit_log(self, installation, retention):
        scan_id = ended_days_ago(installation, 366)
        retention.run_once()
        with installation.engine.connect() as connection:
            noted = connection.execute(
                select(AuditRow.actor).where(AuditRow.action == Action.EXPIRED)
            ).scalars()
            assert list(noted) == ["system"]
        with pytest.raises(ScanMissing):
            installation.scans.get(scan_id)

    def test_a_slide_that_another_scan_has_stays(self, installation, retention):
        old = ended_days_ago(installation, 366)
        other = finished_scan(installation, 1, force=True)
        assert retention.expire_scans() == 1
        assert not is_there(installation, old)
        assert is_there(installation, other)
        assert slide_of(installation).exists()

    def test_a_scan_that_waits_or_runs_cannot_be_purged(self, installation):
        scan_id = waiting_scan(installation)
        for _ in range(2):
            with pytest.raises(ScanNotOver):
                purge_scan(installation, scan_id, actor="a", action=Action.PURGED)
            installation.lifecycle.claim(scan_id, 1, "w")
        assert slide_of(installation).exists()


class TestBatches:
    def ended_days_ago(self, installation, days):
        """A batch of two slides, one of them scanned; it ended so long ago."""
        scan_id = finished_scan(installation)
        asked = NewBatch(
            name="archive",
            sources=BatchSources(
                roots=("/a",), globs=("*.svs",), manifest_uri=None, manifest_sha256=None
            ),
            parameters=ScanParameters(),
            force=False,
            model_sha256="2" * 64,
            submitted_by="lis",
            items=[NewItem("/a/1.svs"), NewItem("/a/2.svs")],
            is_listed=True,
        )
        batch, _ = installation.batches.create(asked)
        with writing(installation.engine) as connection:
            connection.execute(update(BatchItemRow).values(state="succeeded", scan_id=scan_id))
        assert installation.batches.finish() == 1
        with writing(installation.engine) as connection:
            moment = now() - timedelta(days=days)
            connection.execute(update(BatchRow).values(finished_at=moment))
        return batch.batch_id, scan_id

    @pytest.mark.parametrize(("days", "kept"), [(364.9, True), (365.1, False)])
    def test_a_batch_is_kept_as_long_as_a_scan(self, installation, retention, days, kept):
        batch_id, scan_id = self.ended_days_ago(installation, days)
        retention.run_once()
        assert [batch.batch_id for batch in installation.batches.list(state=None, limit=9)] == (
            [batch_id] if kept else []
        )
        with installation.engine.connect() as connection:
            items = connection.execute(select(func.count()).select_from(BatchItemRow)).scalar_one()
            noted = select(AuditRow.detail).where(AuditRow.action == Action.EXPIRED)
            expired = connection.execute(noted).scalars().all()
        assert items == (2 if kept else 0)
        assert expired == ([] if kept else [{"batch_id": batch_id}])
        assert is_there(installation, scan_id), "a scan has its own time"

    def test_a_batch_that_is_not_over_stays(self, installation, retention):
        batch_id, _ = self.ended_days_ago(installation, 1000)
        with writing(installation.engine) as connection:
            connection.execute(update(BatchRow).values(finished_at=None, state="paused"))
        assert retention.expire_batches() == 0
        installation.batches.check(batch_id)


class TestOriginals:
    @pytest.mark.parametrize(("days", "kept"), [(29.9, True), (30.1, False)])
    def test_an_original_is_kept_so_many_days_after_its_scan(
        self, installation, retention, days, kept
    ):
        scan_id = ended_days_ago(installation, days)
        assert retention.expire_originals() == (not kept)
        assert slide_of(installation).exists() == kept
        assert is_there(installation, scan_id), "its results stay"

    @pytest.mark.parametrize("claimed", [True, False])
    def test_an_open_scan_keeps_its_slide(self, installation, retention, claimed):
        ended_days_ago(installation, 31)
        scan_id = waiting_scan(installation, 1, force=True)
        age(slide_of(installation), 31 * DAY_S)
        with writing(installation.engine) as connection:
            connection.execute(update(SlideRow).values(stored_at=now() - timedelta(days=31)))
        if claimed:
            installation.lifecycle.claim(scan_id, 1, "w")
        assert retention.expire_originals() == 0
        assert slide_of(installation).exists()

    def test_one_that_was_uploaded_again_is_left_for_its_new_scan(self, installation, retention):
        ended_days_ago(installation, 31)
        os.utime(slide_of(installation))  # as storing the same bytes again does
        assert retention.expire_originals() == 0
        assert slide_of(installation).exists()
        age(slide_of(installation), DAY_S + 60)
        assert retention.expire_originals() == 1

    def test_a_slide_that_went_is_there_again_after_another_upload(self, installation, retention):
        ended_days_ago(installation, 31)
        retention.expire_originals()
        waiting_scan(installation, 1, force=True)
        retention.run_once()
        assert slide_of(installation).exists()


class TestOrphans:
    @pytest.mark.parametrize(("age_s", "kept"), [(-60, True), (60, False)])
    def test_results_that_no_scan_knows_go_after_a_day(self, installation, retention, age_s, kept):
        directory = installation.layout.results / "nobody" / "1"
        directory.mkdir(parents=True)
        for path in (directory, directory.parent):
            age(path, ORPHAN_AGE_S + age_s)
        retention.sweep_orphans()
        assert directory.exists() == kept

    @pytest.mark.parametrize(("age_s", "kept"), [(-60, True), (60, False)])
    def test_slides_that_no_scan_knows_go_after_a_day_and_an_uploads_life(
        self, installation, retention, age_s, kept
    ):
        path = slide_of(installation, 9)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"II*\0")
        limit = ORPHAN_AGE_S + IntakeLimits.of(installation.settings).expires_s
        age(path, limit + age_s)
        retention.sweep_orphans()
        assert path.exists() == kept

    def test_what_a_scan_has_or_writes_stays(self, installation, retention):
        finished = ended_days_ago(installation, 10)
        running = waiting_scan(installation, 2)
        installation.lifecycle.claim(running, 1, "w")
        partial = installation.layout.result_of(running, 1)
        partial.mkdir(parents=True)
        results = installation.layout.results
        for scan_id in (finished, running):
            for path in (results / scan_id / "1", results / scan_id):
                age(path, 2 * DAY_S)
        age(slide_of(installation, 2), 9 * DAY_S)
        retention.sweep_orphans()
        assert (results / finished / "1" / "report.json").exists()
        assert partial.exists()
        assert slide_of(installation, 1).exists()
        assert slide_of(installation, 2).exists()

    def test_what_killed_attempts_left_goes(self, installation, retention):
        scan_id = ended_days_ago(installation, 10)
        directory = installation.layout.results / scan_id
        (directory / "7").mkdir()
        patches = directory / ".7.partial-0123"
        patches.write_bytes(b"patches")
        for path in (directory / "7", patches, directory):
            age(path, 2 * DAY_S)
        assert retention.sweep_orphans() == 2
        assert [path.name for path in directory.iterdir()] == ["1"]
        assert retention.sweep_orphans() == 0

    def test_a_resumable_upload_and_the_slide_it_became_stay(self, installation, retention):
        layout = installation.layout
        uploads = ResumableUploads(layout, IntakeLimits.of(installation.settings))
        content = slide_bytes(5000)
        arriving = uploads.create("lis", 5000)
        finished = uploads.create("lis", 5000)
        with uploads.write(finished, "lis") as (descriptor, state):
            os.write(descriptor, content)
            sha256 = uploads.finish(finished, state.ticket, descriptor, None).sha256
        age(layout.slide_of(sha256), ORPHAN_AGE_S + 60)
        retention.run_once()
        assert uploads.look_up(arriving, "lis").offset == 0
        assert uploads.find_upload(finished, "lis").sha256 == sha256


def test_a_purge_while_the_slide_is_submitted_again_leaves_no_scan_without_its_slide(
    installation, tmp_path
):
    """Either the new scan has its slide, or its sender is told to send it again."""
    caller, _ = installation.keys.create("lis", frozenset({Role.ADMIN}))
    sha256 = f"{1:064x}"
    outcomes = set()
    for _ in range(12):
        old = finished_scan(installation, 1, force=True)
        start = threading.Barrier(2)

        def purge(scan_id=old, start=start):
            start.wait()
            purge_scan(installation, scan_id, actor="a", action=Action.PURGED)

        def send(start=start):
            arrived = installation.layout.uploads / "arrived"
            arrived.write_bytes(b"II*\0")
            start.wait()
            place_slide(installation.layout, arrived, sha256)
            source = SlideSource(size_bytes=4, sha256=sha256)
            asked = Submission(source, ScanMetadata(force=True), caller, "key")
            try:
                return submit(installation, asked).scan.scan_id
            except ApiProblem as err:
                assert err.status == 409
                return None

        with ThreadPoolExecutor(2) as threads:
            purged, sent = threads.submit(purge), threads.submit(send)
            purged.result()
            new = sent.result()
        outcomes.add(new is not None)
        waiting = installation.scans.list(ScanFilter(state=ScanState.QUEUED), limit=10)
        assert [scan.scan_id for scan in waiting] == ([] if new is None else [new])
        if new is None:
            assert not slide_of(installation).exists()
            assert send_again(installation, caller, sha256) is not None
            (waiting_again,) = installation.scans.list(ScanFilter(state=ScanState.QUEUED), limit=10)
            new = waiting_again.scan_id
        assert slide_of(installation).exists()
        installation.scans.cancel(new)
        purge_scan(installation, new, actor="a", action=Action.PURGED)
    assert outcomes


def send_again(installation, caller, sha256):
    """The same request, word for word, as a client that was answered 409 sends it."""
    arrived = installation.layout.uploads / "arrived"
    arrived.write_bytes(b"II*\0")
    place_slide(installation.layout, arrived, sha256)
    source = SlideSource(size_bytes=4, sha256=sha256)
    created = submit(installation, Submission(source, ScanMetadata(force=True), caller, "key"))
    return created.scan.scan_id if created.scan.state is ScanState.QUEUED else None


@pytest.mark.parametrize(
    ("state", "days", "kept"),
    [
        ("delivered", 364.9, True),
        ("delivered", 365.1, False),
        ("failed", 365.1, False),
        ("dropped", 365.1, False),
        ("waiting", 1000, True),
    ],
)
def test_a_webhook_is_kept_as_long_as_a_scan_and_while_it_waits(
    installation, retention, state, days, kept
):
    finished_scan(installation, callback_url="https://lis.example/ended")
    with writing(installation.engine) as connection:
        moment = now() - timedelta(days=days)
        connection.execute(update(DeliveryRow).values(state=state, created_at=moment))
        (delivery_id,) = connection.execute(select(DeliveryRow.id)).scalars()
    retention.run_once()
    with installation.engine.connect() as connection:
        left = connection.execute(select(DeliveryRow.id)).scalars().all()
    assert left == ([delivery_id] if kept else [])


@pytest.mark.parametrize(("days", "found"), [(6.9, True), (7.1, False)])
def test_a_clients_name_for_a_request_is_kept_for_a_week(installation, days, found):
    request = ClientRequest("key-1", "f" * 64)
    new = NewScan(SlideSource(1, sha256="a" * 64), ScanMetadata(force=True), "lis", "", request)
    first = installation.scans.create(new)
    with installation.engine.begin() as connection:
        moment = now() - timedelta(days=days)
        connection.execute(update(IdempotencyRow).values(created_at=moment))
    Retention(installation).expire_requests()
    again = installation.scans.create(new)
    assert (again.scan.scan_id == first.scan.scan_id) is found


def test_a_slide_purged_between_its_arrival_and_its_scan_is_asked_for_again(installation):
    caller, _ = installation.keys.create("lis", frozenset({Role.ADMIN}))
    sha256 = f"{1:064x}"
    source = SlideSource(size_bytes=4, sha256=sha256)
    asked = Submission(source, ScanMetadata(force=True), caller, "key")
    with pytest.raises(ApiProblem, match="send it again") as refused:
        submit(installation, asked)
    assert refused.value.status == 409
    assert installation.scans.count(ScanState.QUEUED) == 0
    assert installation.jobs.waiting() == set()
    assert send_again(installation, caller, sha256) is not None
