"""The HTTP front: routes, errors, and what they stand on. Never imports torch, opens no slide."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI, Request

from service import problems
from service.access.authentication import KeyCache, uploader
from service.access.rate_limit import RateLimit
from service.contract.problem import Problem
from service.contract.submission import ScanMetadata, ScanSubmission
from service.edge import Edge
from service.installation import Installation
from service.intake.intake import Intake
from service.intake.tus import PREFIX as UPLOADS
from service.intake.tus import make_router as make_upload_router
from service.routes import batches, cells, events, health, posting, reports, scans
from service.routes.pixels import make_pixel_router
from service.routes.status import add_status_route
from service.settings import ServiceSettings
from service.viewer_client import ViewerClient

DESCRIPTION: Final = """\
Post a scan of a peripheral blood smear; get the leukocyte differential and the blast count.

**Research use only. Not for diagnostic use.** Every error is a problem document (RFC 9457) whose
`code` is one of a fixed list; docs/api.md says what to do about each. This document is at
`/v1/openapi.json` and asks for no key.
"""

TAGS: Final = (
    {"name": "scans", "description": "Post a slide, follow its scan, cancel it."},
    {"name": "results", "description": "Reports and cells, and what people say of cells."},
    {"name": "viewing", "description": "Pixels of the slide and its cells."},
    {"name": "batches", "description": "Scan an archive, after everything that is more urgent."},
    {"name": "uploads", "description": "Slides in pieces: tus 1.0.0."},
    {"name": "health", "description": "For orchestrators; no key is asked."},
)


def create_app(settings: ServiceSettings) -> FastAPI:
    """The app of an installation; connects when it starts, lets go when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        installation = Installation.open(settings)
        app.state.installation = installation
        app.state.key_cache = KeyCache(installation.keys)
        yield
        await viewer.close()
        intake.close()
        installation.close()

    intake, viewer = Intake.of(settings), ViewerClient.of(settings)
    app = FastAPI(
        title="smearscan",
        version=version("smearscan"),
        description=DESCRIPTION,
        openapi_tags=[*TAGS],
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # behind TLS the redirect would name http, and keys would follow it
    )
    app.state.intake = intake
    app.state.event_streams = set()
    app.state.rate_limit = RateLimit(
        settings.rate_limit_per_minute, share=1 / settings.api_processes
    )
    problems.install(app)
    add_status_route(app)
    for part in (health, posting, events, reports, cells, scans, batches):
        app.include_router(part.router)
    app.include_router(make_pixel_router(viewer))
    app.include_router(make_upload_router(intake, uploader, problems.responses))
    _describe_problems(app)
    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes, takes_uploads=takes_uploads)
    return app


def takes_uploads(request: Request) -> bool:
    """Whether a request's body is a slide, or a piece of one: intake limits it."""
    path, method = request.scope["path"], request.method  # `request.url` takes long to build
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = method == "POST" and path == "/v1/scans" and kind == posting.FORM
    return is_form or (path.startswith(UPLOADS) and method in {"POST", "PATCH"})


def _describe_problems(app: FastAPI) -> None:
    """Have the OpenAPI document define what routes only refer to."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (Problem, ScanMetadata, ScanSubmission):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, definition in schema.pop("$defs", {}).items():
                schemas.setdefault(name, definition)
            schemas.setdefault(model.__name__, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
