"""The viewer's HTTP interface, for the api alone: POST a request of `service.contract.viewing`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import numpy as np
import structlog
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.contract.record import Record
from service.contract.viewing import (
    STATUS,
    DescriptorRequest,
    PatchRequest,
    SaliencyRequest,
    SlideReference,
    TileRequest,
    ViewingCode,
    ViewingProblem,
)
from worker.viewer import deep_zoom
from worker.viewer.permission import SlideRoots
from worker.viewer.pool import SlideKey, SlidePool
from worker.viewer.saliency import FetchSaliency, render_saliency
from worker.viewer.slide_process import ViewingFailed
from worker.viewer.wire import Describe, Patch, Question, Tile

log = structlog.get_logger()

MAX_REQUEST_BYTES: Final = 16 << 10
MAX_MAPS: Final = 4
"""Saliency maps in the making: the model process has scans to serve."""
Asked = TypeVar("Asked", bound=Record)


class Viewer:
    """The routes' common part.

    Args:
        pool: of slides; closed with the app.
        roots: whose files may be opened.
        fetch_saliency: None where there is no model process.
    """

    def __init__(
        self, pool: SlidePool, roots: SlideRoots, fetch_saliency: FetchSaliency | None
    ) -> None:
        self._pool = pool
        self._roots = roots
        self._fetch_saliency = fetch_saliency
        self._maps = 0

    async def describe(self, request: Request) -> Response:
        """POST /dzi."""
        asked = await _parse(request, DescriptorRequest)
        return Response(await self._ask(asked.slide, Describe()), media_type=deep_zoom.MEDIA_TYPE)

    async def tile(self, request: Request) -> Response:
        """POST /tile."""
        asked = await _parse(request, TileRequest)
        question = Tile(level=asked.level, column=asked.column, row=asked.row)
        return Response(await self._ask(asked.slide, question), media_type="image/jpeg")

    async def patch(self, request: Request) -> Response:
        """POST /patch."""
        asked = await _parse(request, PatchRequest)
        jpeg = await self._ask(asked.slide, _patch_of(asked, raw=False))
        return Response(jpeg, media_type="image/jpeg")

    async def saliency(self, request: Request) -> Response:
        """POST /saliency."""
        asked = await _parse(request, SaliencyRequest)
        if self._fetch_saliency is None:
            raise ViewingFailed(
                ViewingProblem(
                    code=ViewingCode.MODEL_UNAVAILABLE,
                    message="this viewer has no model process to ask",
                )
            )
        if self._maps >= MAX_MAPS:
            raise ViewingFailed(
                ViewingProblem(
                    code=ViewingCode.BUSY,
                    message=f"{MAX_MAPS} saliency maps are in the making, as many as are allowed:"
                    " try again in 2 s",
                    retry_after_s=2,
                )
            )
        self._maps += 1
        try:
            raw = await self._ask(asked.slide, _patch_of(asked, raw=True))
            pixels = np.frombuffer(raw, np.uint8).reshape(asked.patch_px, asked.patch_px, 3)
            png = await render_saliency(
                self._fetch_saliency, pixels, model=asked.model, target=asked.target
            )
        finally:
            self._maps -= 1
        return Response(png, media_type="image/png")

    async def health(self, request: Request) -> Response:
        """GET /healthz: alive, and what is going on."""
        return JSONResponse({"slides": len(self._pool.pids), "requests": self._pool.questions})

    async def _ask(self, slide: SlideReference, question: Question) -> bytes:
        resolved, status = self._roots.resolve(slide)
        return await self._pool.ask(SlideKey.of(resolved, status), question)


def build_app(
    pool: SlidePool, roots: SlideRoots, fetch_saliency: FetchSaliency | None = None
) -> Starlette:
    """The viewer over a pool, which it closes when it ends."""
    viewer = Viewer(pool, roots, fetch_saliency)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await pool.prepare()
        try:
            yield
        finally:
            await pool.close()

    def post(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, endpoint, methods=["POST"])

    return Starlette(
        routes=[
            post("/dzi", viewer.describe),
            post("/tile", viewer.tile),
            post("/patch", viewer.patch),
            post("/saliency", viewer.saliency),
            Route("/healthz", viewer.health),
        ],
        exception_handlers={ViewingFailed: _answer_problem, Exception: _answer_unexpected},
        lifespan=lifespan,
    )


async def _parse(request: Request, kind: type[Asked]) -> Asked:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise _invalid(f"a request has at most {MAX_REQUEST_BYTES} bytes")
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _invalid(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from err


def _patch_of(asked: PatchRequest, *, raw: bool) -> Patch:
    return Patch(
        x_px=asked.x_px,
        y_px=asked.y_px,
        patch_um=asked.patch_um,
        patch_px=asked.patch_px,
        raw=raw,
    )


def _invalid(message: str) -> ViewingFailed:
    return ViewingFailed(ViewingProblem(code=ViewingCode.INVALID, message=message))


async def _answer_problem(request: Request, err: Exception) -> Response:
    assert isinstance(err, ViewingFailed)
    problem = err.problem
    retry = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
    return Response(
        problem.model_dump_json(),
        STATUS[problem.code],
        headers=retry,
        media_type="application/json",
    )


async def _answer_unexpected(request: Request, err: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=err)
    problem = ViewingProblem(code=ViewingCode.INTERNAL, message="the viewer failed; see its log")
    return Response(problem.model_dump_json(), 500, media_type="application/json")
