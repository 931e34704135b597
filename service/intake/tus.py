"""Resumable uploads over HTTP: tus 1.0.0 with creation, creation-with-upload, expiration,
termination and checksum. Why our own: docs/decisions/0015-uploads.md.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.routing import APIRoute

from service.intake.errors import IntakeError, MalformedUpload
from service.intake.intake import Intake, read_length
from service.intake.piece import Piece
from service.intake.tus_headers import (
    ALGORITHMS,
    EXTENSIONS,
    VERSION,
    as_date,
    check_content_type,
    check_version,
    read_checksum,
    read_metadata,
    read_number,
)
from service.intake.tus_openapi import DescribeProblems, answers, asks, no_problems

PREFIX: Final = "/v1/uploads"

UploadId = Annotated[str, Path(description="Name of the upload: the end of its Location.")]


class TusRoute(APIRoute):
    """Names the protocol's version in every answer, errors included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the header."""
        handle = super().get_route_handler()

        async def handle_tus(request: Request) -> Response:
            try:
                response = await handle(request)
            except IntakeError as err:
                err.headers["Tus-Resumable"] = VERSION
                raise
            response.headers["Tus-Resumable"] = VERSION
            return response

        return handle_tus


def make_router(
    intake: Intake,
    owner_dependency: Callable[..., Any],
    describe_problems: DescribeProblems = no_problems,
) -> APIRouter:
    """Routes below `/v1/uploads`.

    They raise `IntakeError`, which the application turns into a response with the error's status
    and headers.

    Args:
        intake: of this process.
        owner_dependency: a FastAPI dependency that gives the caller's name as a string, or refuses
            the request; uploads of others look as if they were not there.
        describe_problems: gives OpenAPI's description of problem documents by status.
    """
    router = APIRouter(prefix=PREFIX, tags=["uploads"], route_class=TusRoute)
    uploads = intake.uploads
    Owner = Annotated[str, Depends(owner_dependency)]  # noqa: N806

    @router.options(
        "",
        status_code=204,
        response_class=Response,
        summary="What this tus server can do",
        responses=answers(
            204,
            "Limits and extensions.",
            *("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
            "Tus-Checksum-Algorithm",
        ),
    )
    async def options_uploads() -> Response:
        """Asks for no key."""
        return Response(
            status_code=204,
            headers={
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(intake.limits.max_slide_bytes),
                "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
            },
        )

    @router.post(
        "",
        status_code=201,
        response_class=Response,
        summary="Begin a resumable upload",
        openapi_extra=asks(
            *("Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Checksum"), body=False
        ),
        responses={
            **describe_problems(400, 408, 409, 412, 413, 415, 423, 460, 507),
            **answers(
                201,
                "It has begun.",
                *("Tus-Resumable", "Location", "Upload-Offset", "Upload-Expires"),
            ),
        },
    )
    async def create_upload(request: Request, owner: Owner) -> Response:
        """The first piece may come with it. An upload that gets no piece for a day is removed."""
        headers = request.headers
        check_version(headers)
        for name in ("upload-defer-length", "upload-concat"):
            if name in headers:
                raise MalformedUpload(f"{name} is not supported: send Upload-Length and one upload")
        length = read_number(headers, "upload-length")
        metadata = read_metadata(headers, intake.limits.max_metadata_bytes)
        with_piece = headers.get("content-type") is not None and read_length(request) != 0
        if with_piece:
            check_content_type(headers)
            read_checksum(headers)
        upload_id = await intake.run(uploads.create, owner, length, metadata)
        answer = {"Location": f"{request.scope.get('root_path', '')}{PREFIX}/{upload_id}"}
        if with_piece:
            answer["Upload-Offset"] = str(await receive_piece(request, upload_id, owner, 0))
        answer.update(await _expiry(upload_id, owner))
        return Response(status_code=201, headers=answer)

    @router.head(
        "/{upload_id}",
        response_class=Response,
        summary="How far an upload has come",
        openapi_extra=asks("Tus-Resumable"),
        responses={
            **describe_problems(404, 410, 412),
            **answers(
                200,
                "Where it stands.",
                *("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Expires"),
                "Upload-Metadata",
            ),
        },
    )
    async def head_upload(request: Request, upload_id: UploadId, owner: Owner) -> Response:
        """Ask before going on after a broken connection."""
        check_version(request.headers)
        state = await intake.run(uploads.look_up, upload_id, owner)
        answer = {
            "Upload-Offset": str(state.offset),
            "Upload-Length": str(state.ticket.length),
            "Upload-Expires": as_date(state.expires_at),
            "Cache-Control": "no-store",
        }
        if state.ticket.metadata:
            answer["Upload-Metadata"] = state.ticket.metadata
        return Response(status_code=200, headers=answer)

    @router.patch(
        "/{upload_id}",
        status_code=204,
        response_class=Response,
        summary="Send the next piece of an upload",
        openapi_extra=asks("Tus-Resumable", "Upload-Offset", "Upload-Checksum", body=True),
        responses={
            **describe_problems(400, 404, 408, 409, 410, 412, 413, 415, 423, 460, 507),
            **answers(204, "It has arrived.", "Tus-Resumable", "Upload-Offset", "Upload-Expires"),
        },
    )
    async def patch_upload(request: Request, upload_id: UploadId, owner: Owner) -> Response:
        """What arrived before a broken connection is kept, unless a checksum was sent with it."""
        check_version(request.headers)
        check_content_type(request.headers)
        offset = read_number(request.headers, "upload-offset")
        offset = await receive_piece(request, upload_id, owner, offset)
        answer = {"Upload-Offset": str(offset), **await _expiry(upload_id, owner)}
        return Response(status_code=204, headers=answer)

    @router.delete(
        "/{upload_id}",
        status_code=204,
        response_class=Response,
        summary="Give an upload up",
        openapi_extra=asks("Tus-Resumable"),
        responses={
            **describe_problems(404, 410, 412, 423),
            **answers(204, "It is removed.", "Tus-Resumable"),
        },
    )
    async def delete_upload(request: Request, upload_id: UploadId, owner: Owner) -> Response:
        """A slide that it became stays."""
        check_version(request.headers)
        await intake.run(uploads.remove, upload_id, owner)
        return Response(status_code=204)

    @router.post(
        "/{upload_id}",
        status_code=204,
        response_class=Response,
        summary="PATCH or DELETE for clients that cannot send them",
        openapi_extra=asks("Tus-Resumable", "X-HTTP-Method-Override", body=False),
        responses={
            **describe_problems(400, 404, 408, 409, 410, 412, 413, 415, 423, 460, 507),
            **answers(204, "Done.", "Tus-Resumable", "Upload-Offset", "Upload-Expires"),
        },
    )
    async def override_method(request: Request, upload_id: UploadId, owner: Owner) -> Response:
        """Other headers and the body are those of the method that is meant."""
        match request.headers.get("x-http-method-override", "").upper():
            case "PATCH":
                return await patch_upload(request, upload_id, owner)
            case "DELETE":
                return await delete_upload(request, upload_id, owner)
            case _:
                raise MalformedUpload(
                    "X-HTTP-Method-Override is not PATCH or DELETE: send PATCH, or name one there"
                )

    async def receive_piece(request: Request, upload_id: str, owner: str, offset: int) -> int:
        """Take the body as a piece; gives the offset after it."""
        checksum = read_checksum(request.headers)
        with intake.take_place():
            piece = Piece(uploads, upload_id, owner, offset, read_length(request), checksum)
            try:
                await intake.run(piece.open)
                async for chunks in intake.blocks(request):
                    await intake.run(piece.append, chunks)
                await intake.run(piece.finish)
            finally:
                await asyncio.shield(intake.run(piece.close))
        return piece.offset

    async def _expiry(upload_id: str, owner: str) -> dict[str, str]:
        state = await intake.run(uploads.look_up, upload_id, owner)
        return {"Upload-Expires": as_date(state.expires_at)}

    return router
