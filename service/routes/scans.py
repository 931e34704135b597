"""`/v1/scans`: list scans, cancel and remove them."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from service.access.authentication import Administrator, Reader, Served, Submitter
from service.contract.scan import Priority, Scan, ScanPage, ScanState
from service.problems import responses
from service.retention import purge_scan
from service.routes.names import BatchQuery, LabelQuery, Moment, NameCursor, ScanName
from service.store.audit import Action
from service.store.scans import ScanFilter

router = APIRouter(prefix="/v1/scans", tags=["scans"])

MAX_PAGE: Final = 200


@router.get("", responses=responses())
def list_scans(
    served: Served,
    caller: Reader,
    state: Annotated[ScanState | None, Query(description="In this state.")] = None,
    accession: LabelQuery = None,
    batch_id: BatchQuery = None,
    slide_sha256: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="Of the slide's bytes, hex.")
    ] = None,
    priority: Annotated[Priority | None, Query(description="In this queue.")] = None,
    submitted_from: Annotated[Moment | None, Query(description="At this moment or later.")] = None,
    submitted_to: Annotated[Moment | None, Query(description="Before this moment.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many.")] = 50,
    cursor: NameCursor = None,
) -> ScanPage:
    """Scans, newest first. Moments need a zone, e.g. 2026-01-31T09:30:00Z."""
    wanted = ScanFilter(
        state, accession, batch_id, slide_sha256, priority, submitted_from, submitted_to
    )
    found = served.scans.list(wanted, limit=limit + 1, before=cursor)
    page = tuple(found[:limit])
    return ScanPage(scans=page, next_cursor=page[-1].scan_id if len(found) > limit else None)


@router.post("/{scan_id}/cancel", responses=responses(404))
def cancel_scan(scan_id: ScanName, served: Served, caller: Submitter) -> Scan:
    """End a scan that waits or runs; one that is over stays as it is. Work stops within 2 s."""
    scan = served.scans.cancel(scan_id)
    served.audit.note(caller.id, Action.CANCELLED, scan_id=scan_id)
    return scan


@router.delete("/{scan_id}", status_code=204, responses=responses(404, 409))
def delete_scan(scan_id: ScanName, served: Served, caller: Administrator) -> Response:
    """Remove a scan that is over: its results, its reviews, and its slide if no other scan has it.

    The audit log keeps that it was there.
    """
    purge_scan(served, scan_id, actor=caller.id, action=Action.PURGED)
    return Response(status_code=204)
