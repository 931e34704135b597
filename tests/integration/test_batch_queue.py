"""Batches on a real queue."""

import pytest

from service.batches import BatchFeeder
from service.contract.scan import Priority
from service.contract.submission import ScanMetadata
from service.dispatch import Dispatcher, hand_over
from service.store.creation import NewScan, SlideSource
from service.store.models import ServedModel
from tests.batches import begin, work_off, write_slides
from tests.installations import MODEL_SHA256, opened

AHEAD = 4


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    root.mkdir()
    return root


@pytest.fixture
def installation(tmp_path, valkey, archive):
    settings = {"slide_roots": (archive,), "archive_ahead": AHEAD}
    with opened(tmp_path / "data", valkey.url, **settings) as installation:
        installation.models.announce([ServedModel("small", "1", MODEL_SHA256, is_default=True)])
        yield installation


@pytest.mark.integration
def test_the_queue_holds_a_few_slides_of_many_and_interactive_ones_before_them(
    installation, archive
):
    write_slides(archive, [f"{n:03}.svs" for n in range(50)])
    batch = begin(installation, archive)
    feeder, dispatcher = BatchFeeder(installation), Dispatcher(installation)
    for _ in range(4):
        feeder.run_once()
        dispatcher.run_once()
    assert installation.jobs.depth() == {Priority.INTERACTIVE: 0, Priority.ARCHIVE: AHEAD}
    urgent = installation.scans.create(
        NewScan(
            SlideSource(size_bytes=4, sha256="a" * 64),
            ScanMetadata(),
            submitted_by="lis",
            model_sha256=MODEL_SHA256,
        )
    )
    assert hand_over(installation, installation.scans.row(urgent.scan.scan_id))
    assert installation.jobs.depth() == {Priority.INTERACTIVE: 1, Priority.ARCHIVE: AHEAD}
    assert next(iter(installation.jobs.queues)) is Priority.INTERACTIVE  # the order of workers
    ended = 0
    while installation.batches.get(batch.batch_id).finished_at is None:
        ended += work_off(installation)
        feeder.run_once()
        assert installation.batch_items.open_scans().get(batch.batch_id, 0) <= AHEAD
    assert ended == 51
    assert installation.batches.get(batch.batch_id).counts.succeeded == 50


@pytest.mark.integration
def test_a_batch_goes_on_while_the_queue_is_away_and_nothing_is_lost(installation, archive, valkey):
    write_slides(archive, ["a.svs", "b.svs"])
    batch = begin(installation, archive)
    valkey.kill()
    feeder = BatchFeeder(installation)
    for _ in range(2):
        feeder.run_once()
    assert installation.batches.get(batch.batch_id).counts.submitted == 2
    valkey.start()
    Dispatcher(installation).run_once()
    assert installation.jobs.depth()[Priority.ARCHIVE] == 2
