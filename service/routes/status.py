"""`GET /v1/scans/{scan_id}`: where a scan stands. What is asked most, with as little around it."""

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from service.access.authentication import Reader, Served, admit_reader, get_installation
from service.contract.scan import Scan
from service.problems import responses
from service.routes.names import NAME, ScanName


class DirectRoute(APIRoute):
    """Calls `get_scan` itself: FastAPI takes half a millisecond of CPU to find its arguments.

    FastAPI documents the route by its signature, and refuses what the signature does not allow.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scan_id: str = scope["path_params"]["scan_id"]
        if scope["method"] != "GET" or NAME.fullmatch(scan_id) is None:
            await super().handle(scope, receive, send)
            return
        request = Request(scope)
        caller = await admit_reader(request)
        response = await get_scan(scan_id, get_installation(request), caller)
        await response(scope, receive, send)


async def get_scan(scan_id: ScanName, served: Served, caller: Reader) -> Response:
    """Where a scan stands."""
    # No thread where reading takes none, and nothing validated twice.
    find = served.scans.get
    scan = find(scan_id) if served.is_local else await run_in_threadpool(find, scan_id)
    return Response(scan.model_dump_json(), media_type="application/json")


def add_status_route(app: FastAPI) -> None:
    """Add it to an app that has no routes yet: those are tried in order, and each costs time."""
    app.router.add_api_route(
        "/v1/scans/{scan_id}",
        get_scan,
        methods=["GET"],
        tags=["scans"],
        response_model=Scan,
        responses=responses(404),
        route_class_override=DirectRoute,
    )
