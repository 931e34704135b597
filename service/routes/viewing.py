"""Pixels: a slide's Deep Zoom pyramid, and cells with what the classifier looked at."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from models.taxonomy import CellClass
from service.contract.viewing import MAX_LEVEL, SlideReference
from service.patches import PatchMissing, read_patch
from service.routes.etags import matches
from service.routes.names import CellNumber, ScanName
from service.viewer_client import ViewerClient

CACHE_CONTROL: Final = "private, max-age=3600"
"""Cells are a patient's: no shared cache may keep them. After an hour a browser asks again, and is
refused if its key was withdrawn."""
RENDERING: Final = 1
"""Counts changes to how tiles, patches and maps are drawn: part of every ETag."""


@dataclass(frozen=True, slots=True)
class ViewedScan:
    """What is to be known of a scan to show its slide.

    Attributes:
        slide: where its file lies; it may be gone.
        result_dir: where the results of its last attempt lie; None before there are any.
        model: name of the weights that named its cells; None: the default.
        patch_um: width of their patches, µm.
    """

    slide: SlideReference
    result_dir: FilePath | None = None
    model: str | None = None
    patch_um: float = 29.0


@dataclass(frozen=True, slots=True)
class CellPlace:
    """Centre of a cell, level-0 frame, px."""

    x_px: float
    y_px: float


class FindScan(Protocol):
    """Looks a scan up; blocks, and is called from a thread."""

    def __call__(self, request: Request, scan_id: str) -> ViewedScan:
        """Raises what the app answers with 404 (no such scan) or 410 (purged)."""


class FindCell(Protocol):
    """Looks a scan's cell or doubtful object up; blocks, and is called from a thread."""

    def __call__(self, request: Request, scan_id: str, number: int, /) -> CellPlace:
        """Raises what the app answers with 404 (no such cell) or 409 (no results yet)."""


class DescribeProblems(Protocol):
    """OpenAPI's description of problem documents, by status: `service.problems.responses`."""

    def __call__(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        """Those of these statuses and of all that any route can answer with."""


Level = Annotated[
    int, Path(ge=0, le=MAX_LEVEL, description="0 is a single px, the last full resolution.")
]
Column = Annotated[int, Path(ge=0, lt=1 << 31, description="Of the tile, from the left, from 0.")]
Row = Annotated[int, Path(ge=0, lt=1 << 31, description="Of the tile, from the top, from 0.")]
IfNoneMatch = Annotated[str | None, Header(description="ETags the client has.")]


def make_router(
    find_scan: FindScan,
    find_cell: FindCell,
    find_doubtful: FindCell,
    viewer: ViewerClient,
    describe_problems: DescribeProblems,
) -> APIRouter:
    """The routes, over the store and a viewer; who may ask is for the app to say, as dependencies
    of the router.

    They raise what `find_scan`, `find_cell` and `find_doubtful` raise, `ViewerError` and nothing
    else.
    """
    router = APIRouter(tags=["viewing"])

    def binary(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
        etag = {"ETag": {"description": "Of these pixels.", "schema": {"type": "string"}}}
        content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
        return {
            200: {"description": what, "content": content, "headers": etag},
            304: {"description": "The client has it.", "headers": etag},
            **describe_problems(400, 404, 409, 410, 422, 503),
        }

    async def answer_patch(
        if_none_match: str | None,
        scan: ViewedScan,
        place: CellPlace,
        *,
        kept_as: int | None = None,
    ) -> Response:
        """The square around a place: as kept with the results under a cell's number, or cut."""

        async def draw() -> bytes:
            if kept_as is not None:
                kept = await run_in_threadpool(_read_kept, scan.result_dir, kept_as)
                if kept is not None:
                    return kept
            return await viewer.fetch_patch(
                scan.slide, place.x_px, place.y_px, patch_um=scan.patch_um
            )

        headers = _headers(scan, "patch", place.x_px, place.y_px, scan.patch_um)
        return await _answer(if_none_match, headers, "image/jpeg", draw)

    @router.get(
        "/v1/scans/{scan_id}/slide.dzi",
        summary="Deep Zoom descriptor",
        response_class=Response,
        responses=binary("application/xml", "Size and tiles of the slide, XML."),
    )
    async def get_descriptor(
        request: Request, scan_id: ScanName, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Size of the slide and of its tiles, for OpenSeadragon and others."""
        scan = await run_in_threadpool(find_scan, request, scan_id)
        headers = _headers(scan, "dzi")
        return await _answer(
            if_none_match, headers, "application/xml", lambda: viewer.fetch_dzi(scan.slide)
        )

    @router.get(
        "/v1/scans/{scan_id}/slide_files/{level}/{column}_{row}.jpeg",
        summary="Deep Zoom tile",
        response_class=Response,
        responses=binary("image/jpeg", "The tile; what cannot be decoded is grey."),
    )
    async def get_tile(
        request: Request,
        scan_id: ScanName,
        level: Level,
        column: Column,
        row: Row,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """A tile of the slide, in its own colours. Label and macro images are not part of it."""
        scan = await run_in_threadpool(find_scan, request, scan_id)
        headers = _headers(scan, "tile", level, column, row)
        return await _answer(
            if_none_match,
            headers,
            "image/jpeg",
            lambda: viewer.fetch_tile(scan.slide, level, column, row),
        )

    @router.get(
        "/v1/scans/{scan_id}/cells/{cell_id}/patch.jpg",
        summary="Picture of a cell",
        response_class=Response,
        responses=binary("image/jpeg", "The cell as the classifier saw it."),
    )
    async def get_patch(
        request: Request, scan_id: ScanName, cell_id: CellNumber, if_none_match: IfNoneMatch = None
    ) -> Response:
        """The square around a cell that was classified: as kept with the results, or else cut
        from the slide again."""
        scan = await run_in_threadpool(find_scan, request, scan_id)
        place = await run_in_threadpool(find_cell, request, scan_id, cell_id)
        return await answer_patch(if_none_match, scan, place, kept_as=cell_id)

    @router.get(
        "/v1/scans/{scan_id}/doubtful-objects/{number}/patch.jpg",
        summary="Picture of a doubtful object",
        response_class=Response,
        responses=binary("image/jpeg", "The object, as wide as a cell's picture."),
    )
    async def get_doubtful_patch(
        request: Request, scan_id: ScanName, number: CellNumber, if_none_match: IfNoneMatch = None
    ) -> Response:
        """The square around what may be a leukocyte and was not counted, cut from the slide."""
        scan = await run_in_threadpool(find_scan, request, scan_id)
        place = await run_in_threadpool(find_doubtful, request, scan_id, number)
        return await answer_patch(if_none_match, scan, place)

    @router.get(
        "/v1/scans/{scan_id}/cells/{cell_id}/saliency.png",
        summary="What the classifier looked at",
        response_class=Response,
        responses=binary("image/png", "The cell in grey, its saliency in colour."),
    )
    async def get_saliency(
        request: Request,
        scan_id: ScanName,
        cell_id: CellNumber,
        target: Annotated[
            CellClass | None,
            Query(description="Class to explain; unset: the one the model names."),
        ] = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Pixels to which the classifier's loss is sensitive. Brightness compares within one
        picture only; it does not say why a cell got its name."""
        scan = await run_in_threadpool(find_scan, request, scan_id)
        place = await run_in_threadpool(find_cell, request, scan_id, cell_id)
        headers = _headers(
            scan, "saliency", place.x_px, place.y_px, scan.patch_um, scan.model, target
        )
        return await _answer(
            if_none_match,
            headers,
            "image/png",
            lambda: viewer.fetch_saliency(
                scan.slide,
                place.x_px,
                place.y_px,
                patch_um=scan.patch_um,
                model=scan.model,
                target=target,
            ),
        )

    return router


async def _answer(
    if_none_match: str | None,
    headers: Mapping[str, str],
    media_type: str,
    draw: Callable[[], Awaitable[bytes]],
) -> Response:
    """What is drawn, or that the client has it: then nothing is drawn."""
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(await draw(), media_type=media_type, headers=headers)


def _read_kept(result_dir: FilePath | None, cell_id: int) -> bytes | None:
    """The patch kept with the results; None if there is none to be had."""
    if result_dir is None:
        return None
    try:
        return read_patch(result_dir, cell_id)
    except PatchMissing:
        return None


def _headers(scan: ViewedScan, *what: object) -> Mapping[str, str]:
    """ETag of what is asked for, and who may keep it."""
    slide = scan.slide
    identity = (RENDERING, slide.sha256, slide.um_per_px, *what)
    etag = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    return {"ETag": f'"{etag}"', "Cache-Control": CACHE_CONTROL}
