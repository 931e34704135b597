"""`/v1/batches`: have an archive scanned, see how far it is, pause, resume, cancel."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import StreamingResponse

from service.access.authentication import Reader, Served, Submitter
from service.batches.asking import ask
from service.batches.ending import stop
from service.batches.summary import write_summary
from service.contract.batch import (
    Batch,
    BatchItemPage,
    BatchPage,
    BatchRequest,
    BatchState,
    ItemState,
)
from service.problems import responses
from service.routes.names import BatchName, NameCursor, NumberCursor
from service.store.audit import Action

router = APIRouter(prefix="/v1/batches", tags=["batches"])

MAX_PAGE: Final = 200
MAX_ITEMS: Final = 1000

_EXAMPLES: Final[dict[str, Any]] = {
    "archive": {
        "summary": "An archive with this version of the model",
        "value": {"name": "archive 2024", "roots": ["/archive/2024"]},
    },
    "pattern": {
        "summary": "Some of it, without looking for the monolayer",
        "value": {
            "name": "smears of March",
            "globs": ["/archive/2024/03/**/*.svs"],
            "parameters": {"region": "all"},
        },
    },
    "manifest": {
        "summary": "A list, scanned anew",
        "value": {
            "name": "study A",
            "manifest": "slide_uri,um_per_px,accession\n/archive/a.tif,0.25,H24-00017\n",
            "force": True,
        },
    },
}


@router.post(
    "",
    status_code=202,
    responses={
        **responses(400, 413),
        200: {"model": Batch, "description": "An unfinished batch that does the same."},
        202: {
            "description": "A new batch.",
            "headers": {"Location": {"description": "Its URL.", "schema": {"type": "string"}}},
        },
    },
)
def create_batch(
    request: Annotated[BatchRequest, Body(openapi_examples=_EXAMPLES)],
    response: Response,
    served: Served,
    caller: Submitter,
) -> Batch:
    """Scan many slides, after everything that is more urgent.

    What this version of the model has scanned with the same parameters is skipped unless forced;
    a slide that cannot be scanned is an item that says why. Asked twice while the first is
    unfinished, the same batch is answered.
    """
    batch, fresh = ask(served, request, submitted_by=caller.id)
    response.headers["Location"] = f"/v1/batches/{batch.batch_id}"
    response.status_code = 202 if fresh else 200
    served.audit.note(
        caller.id, Action.BATCH_SUBMITTED, detail={"batch_id": batch.batch_id, "fresh": fresh}
    )
    return batch


@router.get("", responses=responses())
def list_batches(
    served: Served,
    caller: Reader,
    state: Annotated[BatchState | None, Query(description="In this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many.")] = 50,
    cursor: NameCursor = None,
) -> BatchPage:
    """Batches, newest first."""
    found = served.batches.list(state=state, limit=limit + 1, before=cursor)
    page = tuple(found[:limit])
    return BatchPage(batches=page, next_cursor=page[-1].batch_id if len(found) > limit else None)


@router.get("/{batch_id}", responses=responses(404))
def get_batch(batch_id: BatchName, served: Served, caller: Reader) -> Batch:
    """Where a batch stands."""
    return served.batches.get(batch_id)


@router.post("/{batch_id}/pause", responses=responses(404, 409))
def pause_batch(batch_id: BatchName, served: Served, caller: Submitter) -> Batch:
    """Begin no further scan; those that wait or run go on."""
    batch = served.batches.pause(batch_id)
    _note_change(served, caller.id, batch)
    return batch


@router.post("/{batch_id}/resume", responses=responses(404, 409))
def resume_batch(batch_id: BatchName, served: Served, caller: Submitter) -> Batch:
    """Begin scans again."""
    batch = served.batches.resume(batch_id)
    _note_change(served, caller.id, batch)
    return batch


@router.post("/{batch_id}/cancel", responses=responses(404))
def cancel_batch(batch_id: BatchName, served: Served, caller: Submitter) -> Batch:
    """Give up what is not over; a batch that is over stays as it is.

    Scans that somebody asked for by themselves, or another batch, go on.
    """
    batch = served.batches.cancel(batch_id)
    _note_change(served, caller.id, batch)
    if batch.state is BatchState.CANCELLED and batch.finished_at is None:
        stop(served, batch_id)
    return served.batches.get(batch_id)


@router.get("/{batch_id}/items", responses=responses(404))
def list_items(
    batch_id: BatchName,
    served: Served,
    caller: Reader,
    state: Annotated[ItemState | None, Query(description="In this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS, description="At most so many.")] = 100,
    cursor: NumberCursor = None,
) -> BatchItemPage:
    """A batch's slides in the order in which they were found."""
    served.batches.check(batch_id)
    found = served.batch_items.page(batch_id, state=state, limit=limit + 1, after=int(cursor or 0))
    page = tuple(found[:limit])
    return BatchItemPage(
        items=page, next_cursor=str(page[-1].number) if len(found) > limit else None
    )


@router.get(
    "/{batch_id}/summary.csv",
    response_class=StreamingResponse,
    responses={
        **responses(404),
        200: {
            "description": "One line a slide: state, failure, counts of blasts and atypical cells.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        },
    },
)
def download_summary(batch_id: BatchName, served: Served, caller: Reader) -> StreamingResponse:
    """What came of each slide, for a spreadsheet; as it stands now."""
    served.batches.check(batch_id)
    served.audit.note(caller.id, Action.READ_REPORT, detail={"batch_id": batch_id})
    return StreamingResponse(
        write_summary(served.batch_items.with_results(batch_id)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="batch-{batch_id}.csv"'},
    )


def _note_change(served: Served, actor: str, batch: Batch) -> None:
    served.audit.note(
        actor, Action.BATCH_CHANGED, detail={"batch_id": batch.batch_id, "state": batch.state}
    )
