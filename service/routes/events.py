"""`/v1/scans/{id}/events`: where a scan stands, told whenever it changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from service.access.authentication import Reader, Served
from service.contract.problem import ProblemCode
from service.contract.scan import Scan
from service.installation import Installation
from service.problems import ApiProblem, responses
from service.routes.names import ScanName
from service.store.scan_rows import ScanMissing

router = APIRouter(prefix="/v1/scans", tags=["scans"])

LOOK_EVERY_S: Final = 0.5
PING_S: Final = 15
MAX_STREAMS: Final = 500
"""Event streams of one process at the same time."""
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"const": "scan"},
        "id": {"type": "string", "description": "Counts the events of this stream, from 1."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Scan"},
        },
    },
}
"""As OpenAPI 3.2 describes a stream's items."""


@router.get(
    "/{scan_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Server-sent events named `scan`, each a Scan; the last one is of a scan"
            " that is over.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        **responses(404),
    },
)
async def follow_scan(
    scan_id: ScanName, request: Request, served: Served, caller: Reader
) -> EventSourceResponse:
    """State, stage and progress as they change, until the scan is over."""
    first = await run_in_threadpool(served.scans.get, scan_id)
    streams: set[object] = request.app.state.event_streams
    if len(streams) >= MAX_STREAMS:
        raise ApiProblem(
            503, ProblemCode.OVERLOADED, f"{MAX_STREAMS} clients follow scans: poll instead."
        )
    return EventSourceResponse(_follow(first, served, streams), ping=PING_S)


async def _follow(
    scan: Scan, served: Installation, streams: set[object]
) -> AsyncIterator[ServerSentEvent]:
    place = object()
    streams.add(place)
    try:
        number = 1
        yield _as_event(scan, number)
        while not scan.state.is_terminal:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                latest = await run_in_threadpool(served.scans.get, scan.scan_id)
            except ScanMissing:
                return
            if latest != scan:
                scan, number = latest, number + 1
                yield _as_event(scan, number)
    finally:
        streams.discard(place)


def _as_event(scan: Scan, number: int) -> ServerSentEvent:
    return ServerSentEvent(data=scan.model_dump_json(), event="scan", id=str(number))
