from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.contract.batch import BatchSources, BatchState, ItemState
from service.contract.failure import AnalysisError, FailureCode
from service.contract.scan import ScanParameters
from service.store.batch_items import SLICE, BatchItems, NewItem
from service.store.batches import Batches, BatchMissing, BatchOver, NewBatch
from service.store.columns import now
from service.store.creation import SlideSource
from service.store.scans import Scans

MODEL = "2" * 64
UNREADABLE = AnalysisError(FailureCode.SLIDE_UNREADABLE, "it is empty").failure


@pytest.fixture
def items(engine):
    return BatchItems(engine, Scans(engine))


@pytest.fixture
def batches(engine, items):
    return Batches(engine, items)


def wanted(*, roots=("/archive",), n: int = 0, listed: bool = True, **changed) -> NewBatch:
    return NewBatch(
        **{
            "name": "archive",
            "sources": BatchSources(roots=roots, globs=(), manifest_uri=None, manifest_sha256=None),
            "parameters": ScanParameters(),
            "force": False,
            "model_sha256": MODEL,
            "submitted_by": "lis",
            "items": tuple(NewItem(f"/archive/{k:06}.svs") for k in range(n)),
            "is_listed": listed,
            **changed,
        }
    )


def submit(items: BatchItems, batch, limit: int = 100):
    slides = [
        (item, SlideSource(size_bytes=10, uri=item.slide_uri, version="1"))
        for item in items.pending(batch.batch_id, limit)
    ]
    return items.submit(batch.batch_id, slides, model_sha256=MODEL)


def test_equal_requests_get_the_same_unfinished_batch(batches):
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: batches.create(wanted(n=3)), range(6)))
    assert len({batch.batch_id for batch, _ in made}) == 1
    assert sorted(fresh for _, fresh in made) == [False] * 5 + [True]


@pytest.mark.parametrize(
    "changed",
    [
        {"roots": ("/other",)},
        {"parameters": ScanParameters(um_per_px=0.25)},
        {"force": True},
        {"model_sha256": "3" * 64},
    ],
)
def test_other_requests_get_another_batch(batches, changed):
    first, _ = batches.create(wanted())
    second, fresh = batches.create(wanted(**changed))
    assert fresh
    assert second.batch_id != first.batch_id


@pytest.mark.parametrize("end", ["finish", "cancel"])
def test_after_its_end_the_same_request_is_a_new_batch(batches, end):
    first, _ = batches.create(wanted())
    batches.finish() if end == "finish" else batches.cancel(first.batch_id)
    assert batches.create(wanted())[1]


@pytest.mark.parametrize("n", [SLICE, SLICE + 1])
def test_listing_again_adds_nothing_twice(batches, items, n):
    batch, _ = batches.create(wanted(listed=False))
    slides = [NewItem(f"/{k}.svs") for k in range(n)]
    assert items.add(batch.batch_id, slides[:7]) == 7
    assert items.add(batch.batch_id, [*slides, *slides]) == n - 7
    assert items.add(batch.batch_id, slides) == 0
    page = items.page(batch.batch_id, state=None, limit=5000, after=0)
    assert [item.number for item in page] == list(range(1, n + 1))
    assert [item.slide_uri for item in page] == [item.slide_uri for item in slides]


def test_slides_are_added_only_while_the_batch_is_listed(batches, items):
    batch, _ = batches.create(wanted(listed=False))
    batches.pause(batch.batch_id)
    assert items.add(batch.batch_id, [NewItem("/a.svs")]) is None
    batches.resume(batch.batch_id)
    assert items.add(batch.batch_id, [NewItem("/a.svs")]) == 1
    assert batches.end_listing(batch.batch_id, passed_over=3)
    assert items.add(batch.batch_id, [NewItem("/b.svs")]) is None
    assert not batches.end_listing(batch.batch_id, passed_over=4)
    assert batches.get(batch.batch_id).passed_over == 3


@pytest.mark.parametrize("stop", ["pause", "cancel"])
def test_nothing_begins_once_a_batch_is_paused_or_cancelled(batches, items, engine, stop):
    batch, _ = batches.create(wanted(n=200))
    with ThreadPoolExecutor(4) as threads:
        feeding = [threads.submit(submit, items, batch, 20) for _ in range(6)]
        stopped = threads.submit(getattr(batches, stop), batch.batch_id)
        begun = [feeding.result() for feeding in feeding]
        stopped.result()
    before = items.open_scans().get(batch.batch_id, 0)
    assert submit(items, batch) in {None}
    assert items.open_scans().get(batch.batch_id, 0) == before
    assert before == sum(result.new_scans for result in begun if result)
    assert batches.get(batch.batch_id).counts.submitted == before


def test_two_feeders_at_once_ask_for_each_slide_once(batches, items):
    batch, _ = batches.create(wanted(n=40, force=True))
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: submit(items, batch, 40), range(4)))
    assert sum(result.new_scans for result in made) == 40
    assert items.open_scans() == {batch.batch_id: 40}


def test_pausing_and_resuming_at_once_leaves_a_state_that_can_go_on(batches):
    batch, _ = batches.create(wanted(n=1))
    with ThreadPoolExecutor(4) as threads:
        changes = [batches.pause, batches.resume] * 6
        list(threads.map(lambda change: change(batch.batch_id), changes))
    assert batches.get(batch.batch_id).state in {BatchState.PAUSED, BatchState.RUNNING}
    assert batches.resume(batch.batch_id).state is BatchState.RUNNING


@pytest.mark.parametrize("end", [BatchState.DONE, BatchState.CANCELLED])
def test_an_end_is_never_left(batches, items, end):
    batch, _ = batches.create(wanted(n=1 if end is BatchState.CANCELLED else 0))
    batches.finish() if end is BatchState.DONE else batches.cancel(batch.batch_id)
    for change in (batches.pause, batches.resume):
        with pytest.raises(BatchOver, match=end):
            change(batch.batch_id)
    assert batches.cancel(batch.batch_id).state is end
    assert submit(items, batch) is None
    batches.finish()
    ended = batches.get(batch.batch_id)
    assert (ended.state, ended.finished_at is None) == (end, False)


def test_a_cancelled_batch_is_finished_only_when_its_scans_are_over(batches, items):
    batch, _ = batches.create(wanted(n=3))
    submit(items, batch, limit=1)
    batches.cancel(batch.batch_id)
    batches.finish()
    assert batches.get(batch.batch_id).finished_at is None
    assert items.stop_scans(batch.batch_id) == 1
    assert items.settle(batch.batch_id) == 1
    batches.finish()
    ended = batches.get(batch.batch_id)
    assert ended.finished_at is not None
    assert ended.counts.cancelled == 3


def test_an_item_that_never_was_a_slide_is_over_at_once(batches, items):
    batch, _ = batches.create(wanted(items=(NewItem("/a.svs", failure=UNREADABLE),)))
    assert items.pending(batch.batch_id, 10) == []
    (item,) = items.page(batch.batch_id, state=ItemState.FAILED, limit=10, after=0)
    assert item.failure == UNREADABLE
    assert batches.finish() == 1


def test_a_purged_scan_does_not_keep_its_batch_open(batches, items, engine):
    batch, _ = batches.create(wanted(n=1))
    submit(items, batch)
    (item,) = items.page(batch.batch_id, state=None, limit=1, after=0)
    Scans(engine).cancel(item.scan_id)
    Scans(engine).purge(item.scan_id)
    assert items.settle(batch.batch_id) == 1
    assert batches.finish() == 1


def test_lists_come_newest_first_and_in_parts(batches):
    made = [batches.create(wanted(roots=(f"/{n}",)))[0].batch_id for n in range(5)]
    first = batches.list(state=None, limit=2)
    rest = batches.list(state=None, limit=10, before=first[-1].batch_id)
    assert [batch.batch_id for batch in (*first, *rest)] == made[::-1]
    batches.cancel(made[0])
    assert [b.batch_id for b in batches.list(state=BatchState.CANCELLED, limit=9)] == made[:1]


def test_there_is_no_batch_of_another_name(batches):
    for ask in (batches.get, batches.pause, batches.resume, batches.cancel):
        with pytest.raises(BatchMissing):
            ask("0")


def test_of_two_that_forget_at_once_one_says_that_it_did(batches):
    made = {batches.create(wanted(roots=(f"/{n}",)))[0].batch_id for n in range(12)}
    batches.finish()
    later = now() + timedelta(days=1)
    with ThreadPoolExecutor(4) as threads:
        forgotten = list(threads.map(lambda _: batches.forget(finished_before=later), range(4)))
    names = [name for some in forgotten for name in some]
    assert sorted(names) == sorted(made)
