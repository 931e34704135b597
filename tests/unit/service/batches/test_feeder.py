from pathlib import Path

import pytest

from service.batches import BatchFeeder
from service.batches.ending import stop
from service.contract.batch import BatchState, ItemState
from service.contract.failure import FailureCode
from service.contract.scan import Priority, RegionChoice, ScanParameters, ScanState
from service.contract.submission import ScanMetadata
from service.installation import Installation
from service.store.audit import Action
from service.store.creation import NewScan, SlideSource
from service.store.scans import ScanFilter
from tests.batches import (
    begin,
    items_of,
    run_to_end,
    serve_model,
    work_off,
    write_slides,
)


def open_scans(installation: Installation) -> int:
    return sum(installation.scans.count(s) for s in (ScanState.QUEUED, ScanState.RUNNING))


def states_of(installation: Installation, batch) -> list[ItemState]:
    return [item.state for item in items_of(installation, batch)]


def test_every_slide_below_a_root_is_scanned_once(installation, feeder, archive):
    paths = write_slides(archive, ["b.svs", "a/c.tif", "a/d/e.NDPI", "f.mrxs", "f/Data0000.dat"])
    batch = run_to_end(installation, feeder, begin(installation, archive))
    items = items_of(installation, batch)
    assert batch.state is BatchState.DONE
    assert sorted(item.slide_uri for item in items) == [p for p in paths if "Data" not in p]
    assert {item.state for item in items} == {ItemState.SUCCEEDED}
    assert batch.passed_over == 1
    scans = installation.scans.list(ScanFilter(batch_id=batch.batch_id), limit=10)
    assert {scan.scan_id for scan in scans} == {item.scan_id for item in items}
    assert {scan.priority for scan in scans} == {Priority.ARCHIVE}


def test_no_more_scans_are_open_than_may_stand_in_the_queue(installation, feeder, archive):
    write_slides(archive, [f"{n:02}.svs" for n in range(10)])
    batch = begin(installation, archive)
    for ended in range(0, 10, 4):
        feeder.run_once()
        feeder.run_once()
        assert open_scans(installation) == min(4, 10 - ended)
        work_off(installation)
    feeder.run_once()
    assert installation.batches.get(batch.batch_id).state is BatchState.DONE


def test_one_that_ends_makes_room_for_one(installation, feeder, archive):
    write_slides(archive, [f"{n:02}.svs" for n in range(10)])
    begin(installation, archive)
    for _ in range(2):
        feeder.run_once()
    work_off(installation, limit=1)
    feeder.run_once()
    assert open_scans(installation) == 4
    assert installation.scans.count(ScanState.SUCCEEDED) == 1


def test_two_batches_share_the_room(installation, feeder, archive):
    write_slides(archive, [f"{a}/{n:02}.svs" for a in "ab" for n in range(10)])
    first, second = (begin(installation, archive / name) for name in "ab")
    for _ in range(2):
        feeder.run_once()
    opened = installation.batch_items.open_scans()
    assert opened == {first.batch_id: 2, second.batch_id: 2}


def test_a_later_batch_gets_its_part_as_scans_of_the_first_end(installation, feeder, archive):
    write_slides(archive, [f"{a}/{n:02}.svs" for a in "ab" for n in range(10)])
    first = begin(installation, archive / "a")
    for _ in range(2):
        feeder.run_once()
    second = begin(installation, archive / "b")
    feeder.run_once()  # lists it; there is no room
    work_off(installation, limit=3)
    feeder.run_once()
    assert installation.batch_items.open_scans() == {first.batch_id: 2, second.batch_id: 2}


def test_interactive_scans_take_no_room_from_a_batch_nor_wait_behind_it(
    installation, feeder, archive
):
    write_slides(archive, [f"{n:02}.svs" for n in range(10)])
    for n in range(8):
        installation.scans.create(
            NewScan(
                SlideSource(size_bytes=1, sha256=f"{n:064x}"),
                ScanMetadata(),
                submitted_by="lis",
                model_sha256="2" * 64,
            )
        )
    begin(installation, archive)
    for _ in range(2):
        feeder.run_once()
    assert installation.scans.count(ScanState.QUEUED, Priority.ARCHIVE) == 4
    assert installation.scans.count(ScanState.QUEUED, Priority.INTERACTIVE) == 8


def test_what_this_version_of_the_model_has_scanned_is_skipped(installation, feeder, archive):
    write_slides(archive, ["a.svs", "b.svs"])
    first = run_to_end(installation, feeder, begin(installation, archive))
    write_slides(archive, ["c.svs"])
    second = run_to_end(installation, feeder, begin(installation, archive))
    assert second.batch_id != first.batch_id
    assert states_of(installation, second) == ["skipped", "skipped", "succeeded"]
    before = [item.scan_id for item in items_of(installation, first)]
    assert [item.scan_id for item in items_of(installation, second)][:2] == before


def test_a_new_version_of_the_model_scans_everything_again(installation, feeder, archive):
    write_slides(archive, ["a.svs", "b.svs"])
    run_to_end(installation, feeder, begin(installation, archive))
    serve_model(installation, "9" * 64)
    again = run_to_end(installation, feeder, begin(installation, archive))
    assert states_of(installation, again) == ["succeeded", "succeeded"]


@pytest.mark.parametrize(
    "asked", [{"force": True}, {"parameters": ScanParameters(region=RegionChoice.ALL)}]
)
def test_force_and_other_parameters_scan_everything_again(installation, feeder, archive, asked):
    write_slides(archive, ["a.svs", "b.svs"])
    run_to_end(installation, feeder, begin(installation, archive))
    again = run_to_end(installation, feeder, begin(installation, archive, **asked))
    assert states_of(installation, again) == ["succeeded", "succeeded"]
    assert installation.scans.count(ScanState.SUCCEEDED) == 4


def test_a_changed_file_is_another_slide(installation, feeder, archive):
    write_slides(archive, ["a.svs", "b.svs"])
    run_to_end(installation, feeder, begin(installation, archive))
    (archive / "a.svs").write_bytes(b"II*\0 scanned again")
    again = run_to_end(installation, feeder, begin(installation, archive))
    assert states_of(installation, again) == ["succeeded", "skipped"]


def test_a_bad_slide_says_why_and_stops_no_other(installation, feeder, archive):
    write_slides(archive, ["a.svs", "bad.svs", "z.svs"])
    (archive / "empty.svs").touch()
    batch = run_to_end(installation, feeder, begin(installation, archive), fail=["bad.svs"])
    a, bad, empty, z = items_of(installation, batch)
    assert batch.state is BatchState.DONE
    assert (a.state, z.state) == (ItemState.SUCCEEDED, ItemState.SUCCEEDED)
    assert bad.failure is not None
    assert (bad.failure.code, bad.failure.message) == ("unsupported_format", "the file is text")
    assert empty.failure is not None
    assert empty.failure.code is FailureCode.SLIDE_UNREADABLE
    assert empty.scan_id is None
    assert (batch.counts.failed, batch.counts.succeeded) == (2, 2)


def test_a_slide_that_vanished_after_listing_fails_alone(installation, feeder, archive):
    write_slides(archive, [f"{n}.svs" for n in range(6)])
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    (archive / "5.svs").unlink()
    batch = run_to_end(installation, feeder, batch)
    assert states_of(installation, batch) == ["succeeded"] * 5 + ["failed"]


def test_a_paused_batch_begins_nothing_and_its_running_scans_count(installation, feeder, archive):
    write_slides(archive, [f"{n}.svs" for n in range(6)])
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    installation.batches.pause(batch.batch_id)
    work_off(installation)
    for _ in range(3):
        feeder.run_once()
    paused = installation.batches.get(batch.batch_id)
    assert paused.state is BatchState.PAUSED
    assert (paused.counts.succeeded, paused.counts.pending) == (4, 2)
    installation.batches.resume(batch.batch_id)
    assert run_to_end(installation, feeder, batch).counts.succeeded == 6


def test_a_batch_paused_while_it_was_listed_is_listed_to_the_end_when_resumed(
    installation, feeder, archive
):
    write_slides(archive, ["a.svs", "b.svs"])
    batch = begin(installation, archive)
    installation.batches.pause(batch.batch_id)
    feeder.run_once()
    assert items_of(installation, batch) == []
    assert installation.batches.resume(batch.batch_id).state is BatchState.LISTING
    assert run_to_end(installation, feeder, batch).counts.succeeded == 2


def test_a_cancelled_batch_gives_up_what_is_open_and_keeps_what_is_done(
    installation, feeder, archive
):
    write_slides(archive, [f"{n}.svs" for n in range(6)])
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    work_off(installation, limit=1)
    installation.batches.cancel(batch.batch_id)
    feeder.run_once()
    batch = installation.batches.get(batch.batch_id)
    assert (batch.state, batch.finished_at is None) == (BatchState.CANCELLED, False)
    assert (batch.counts.succeeded, batch.counts.cancelled) == (1, 5)
    assert open_scans(installation) == 0
    feeder.run_once()
    assert open_scans(installation) == 0


def test_cancelling_leaves_the_scans_that_others_want(installation, feeder, archive):
    write_slides(archive, ["a.svs", "b.svs", "c.svs"])
    first = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    manifest = f"slide_uri\n{archive / 'a.svs'}\n"
    second = begin(installation, archive, roots=(), manifest=manifest)
    feeder.run_once()
    wanted = items_of(installation, first)[1].scan_id
    installation.audit.note("lis", Action.SUBMITTED, scan_id=wanted, detail={"fresh": False})
    installation.batches.cancel(first.batch_id)
    stop(installation, first.batch_id)
    feeder.run_once()
    a, b, c = (installation.scans.get(item.scan_id) for item in items_of(installation, first))
    assert [a.state, b.state, c.state] == ["queued", "queued", "cancelled"]
    assert installation.batches.get(first.batch_id).finished_at is not None
    assert run_to_end(installation, feeder, second).counts.succeeded == 1


def test_a_batch_waits_for_a_scan_that_somebody_else_asked_for(installation, feeder, archive):
    (path,) = write_slides(archive, ["a.svs"])
    state = Path(path).stat()
    created = installation.scans.create(
        NewScan(
            SlideSource(size_bytes=state.st_size, uri=path, version=str(state.st_mtime_ns)),
            ScanMetadata(),
            submitted_by="lis",
            model_sha256="2" * 64,
        )
    )
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    batch = run_to_end(installation, feeder, batch)
    (item,) = items_of(installation, batch)
    assert (item.state, item.scan_id) == (ItemState.SUCCEEDED, created.scan.scan_id)


def test_a_scan_cancelled_by_itself_ends_its_item_alone(installation, feeder, archive):
    write_slides(archive, ["a.svs", "b.svs"])
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    installation.scans.cancel(items_of(installation, batch)[0].scan_id)
    batch = run_to_end(installation, feeder, batch)
    assert states_of(installation, batch) == ["cancelled", "succeeded"]


def test_nothing_is_fed_before_a_model_process_has_started(installation, feeder, archive):
    write_slides(archive, ["a.svs"])
    with installation.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM served_models")
    batch = begin(installation, archive)
    feeder.run_once()
    feeder.run_once()
    assert states_of(installation, batch) == ["pending"]
    serve_model(installation, "2" * 64)
    assert run_to_end(installation, feeder, batch).counts.succeeded == 1


def test_a_model_that_is_served_no_more_pauses_the_batch_and_says_so(installation, feeder, archive):
    write_slides(archive, ["a.svs"])
    batch = begin(installation, archive, parameters=ScanParameters(model="small"))
    feeder.run_once()
    with installation.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE served_models SET name = 'other'")
    feeder.run_once()
    batch = installation.batches.get(batch.batch_id)
    assert batch.state is BatchState.PAUSED
    assert batch.message is not None
    assert "'small'" in batch.message
    assert "resume" in batch.message


def test_a_batch_without_a_slide_is_done_and_says_so(installation, feeder, archive):
    batch = run_to_end(installation, feeder, begin(installation, archive))
    assert (batch.state, batch.progress.total) == (BatchState.DONE, 0)
    assert batch.message == "no slide was found: check the sources"


def test_another_feeder_goes_on_where_one_was_killed(installation, feeder, archive):
    write_slides(archive, [f"{n}.svs" for n in range(10)])
    batch = begin(installation, archive)
    while installation.batches.get(batch.batch_id).finished_at is None:
        BatchFeeder(installation).run_once()
        work_off(installation, limit=3)
    assert states_of(installation, batch) == ["succeeded"] * 10
    assert installation.scans.count(ScanState.SUCCEEDED) == 10


def test_a_manifest_gives_each_slide_its_resolution_and_accession(installation, feeder, archive):
    a, b = write_slides(archive, ["a.svs", "b.svs"])
    batch = begin(
        installation,
        archive,
        roots=(),
        manifest=f"slide_uri,um_per_px,accession\n{a},0.25,H24-1\nfile://{b},,\n",
        parameters=ScanParameters(um_per_px=0.5),
    )
    batch = run_to_end(installation, feeder, batch)
    first, second = (installation.scans.get(i.scan_id) for i in items_of(installation, batch))
    assert (first.parameters.um_per_px, first.accession) == (0.25, "H24-1")
    assert (second.parameters.um_per_px, second.accession) == (0.5, None)


def test_a_manifest_names_no_file_outside_the_slide_roots(installation, feeder, archive, tmp_path):
    (outside,) = write_slides(tmp_path, ["secret.svs"])
    (archive / "link.svs").symlink_to(outside)
    rows = f"{outside}\n{archive}/../secret.svs\n{archive}/link.svs\nrelative.svs\ns3://b/k.svs\n"
    batch = begin(installation, archive, roots=(), manifest=f"slide_uri\n{rows}")
    batch = run_to_end(installation, feeder, batch)
    assert states_of(installation, batch) == ["failed"] * 5
    assert installation.scans.list(ScanFilter(), limit=10) == []
