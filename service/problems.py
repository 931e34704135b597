"""From exceptions to answers: the one table, installed once.

ApiProblem                    any refusal a route words by itself
ViewerError                   why there are no pixels
IntakeError                   why a slide was not taken in; says its own status and code
everything in `PROBLEMS`      typed errors of the parts below, each with its status and code
RequestValidationError        422, or 400 where the body is no JSON
anything else                 500 without a word about its inside; the log has it
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.batches.manifest import ManifestInvalid
from service.batches.places import SourceRefused
from service.contract.problem import Problem, ProblemCode
from service.intake.errors import IntakeError
from service.results import CellMissing, ResultsGone, ResultsNotReady
from service.store.batches import BatchMissing, BatchOver
from service.store.creation import IdempotencyMismatch
from service.store.models import UnknownModel
from service.store.scan_rows import ScanMissing, ScanNotOver
from service.viewer_client import (
    ModelUnavailable,
    PixelsUnreadable,
    SlideGone,
    TileNotFound,
    TileUnavailable,
    ViewerError,
    ViewerUnavailable,
    ViewingRefused,
)
from service.webhooks.policy import CallbackRefused

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""When an overloaded or half-started service may be asked again, s."""

_log = structlog.get_logger(__name__)


class ApiProblem(Exception):
    """A request is refused.

    Args:
        status: HTTP status, 400 to 599.
        code: for programs.
        detail: for people: value, limit, remedy; no paths.
        headers: sent with it.
    """

    def __init__(
        self,
        status: int,
        code: ProblemCode,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


PROBLEMS: Final[dict[type[Exception], tuple[int, ProblemCode, str | None]]] = {
    ScanMissing: (404, ProblemCode.NOT_FOUND, "There is no scan of that name, or it was purged."),
    ScanNotOver: (
        409,
        ProblemCode.CONFLICT,
        "The scan waits or runs: cancel it first, then delete it.",
    ),
    IdempotencyMismatch: (
        422,
        ProblemCode.IDEMPOTENCY_MISMATCH,
        "This Idempotency-Key was used for another request: use a new key for a new request.",
    ),
    ResultsNotReady: (409, ProblemCode.CONFLICT, None),
    ResultsGone: (410, ProblemCode.GONE, None),
    CellMissing: (404, ProblemCode.NOT_FOUND, None),
    BatchMissing: (404, ProblemCode.NOT_FOUND, "There is no batch of that name."),
    BatchOver: (409, ProblemCode.CONFLICT, None),
    SourceRefused: (422, ProblemCode.SLIDE_URI_FORBIDDEN, None),
    ManifestInvalid: (422, ProblemCode.INVALID_REQUEST, None),
    UnknownModel: (422, ProblemCode.UNKNOWN_MODEL, None),
    CallbackRefused: (422, ProblemCode.CALLBACK_REFUSED, None),
    OperationalError: (
        503,
        ProblemCode.STORE_UNAVAILABLE,
        "The database does not answer: try again.",
    ),
}
"""Typed error → status, code, and words; None: the error's own."""

VIEWER_PROBLEMS: Final[dict[type[ViewerError], tuple[int, ProblemCode]]] = {
    ViewerUnavailable: (503, ProblemCode.VIEWER_UNAVAILABLE),
    TileUnavailable: (503, ProblemCode.VIEWER_UNAVAILABLE),
    ModelUnavailable: (503, ProblemCode.VIEWER_UNAVAILABLE),
    TileNotFound: (404, ProblemCode.NOT_FOUND),
    SlideGone: (410, ProblemCode.GONE),
    PixelsUnreadable: (422, ProblemCode.PIXELS_UNREADABLE),
    ViewingRefused: (400, ProblemCode.INVALID_REQUEST),
}
"""Why there are no pixels → status and code; the words are the error's own."""

_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_BY_STATUS: Final = {
    400: ProblemCode.INVALID_REQUEST,
    401: ProblemCode.UNAUTHENTICATED,
    403: ProblemCode.FORBIDDEN,
    404: ProblemCode.NOT_FOUND,
    405: ProblemCode.METHOD_NOT_ALLOWED,
    406: ProblemCode.NOT_ACCEPTABLE,
    413: ProblemCode.BODY_TOO_LARGE,
    415: ProblemCode.UNSUPPORTED_MEDIA_TYPE,
}


def answer(
    request: Request,
    status: int,
    code: ProblemCode,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: tuple[str, ...] = (),
) -> Response:
    """A problem document."""
    problem = Problem(
        title=_phrase(status),
        status=status,
        code=code,
        detail=detail,
        request_id=getattr(request.state, "request_id", None),
        errors=errors,
    )
    sent = dict(headers or {})
    if status in {429, 503}:
        sent.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(
        problem.model_dump_json(), status_code=status, media_type=MEDIA_TYPE, headers=sent
    )


def install(app: FastAPI) -> None:
    """Have the app answer every exception by the table above."""

    async def on_api_problem(request: Request, err: Exception) -> Response:
        assert isinstance(err, ApiProblem)
        return answer(request, err.status, err.code, err.detail, headers=err.headers)

    async def on_intake(request: Request, err: Exception) -> Response:
        assert isinstance(err, IntakeError)
        code = ProblemCode(err.code)
        return answer(request, err.status, code, err.message, headers=err.headers)

    async def on_viewer(request: Request, err: Exception) -> Response:
        assert isinstance(err, ViewerError)
        status, code = VIEWER_PROBLEMS[type(err)]
        wait = {} if err.retry_after_s is None else {"Retry-After": str(err.retry_after_s)}
        return answer(request, status, code, str(err), headers=wait)

    async def on_listed(request: Request, err: Exception) -> Response:
        status, code, detail = next(
            PROBLEMS[kind] for kind in type(err).__mro__ if kind in PROBLEMS
        )
        return answer(request, status, code, detail or str(err))

    async def on_http(request: Request, err: Exception) -> Response:
        assert isinstance(err, HTTPException)
        code = _BY_STATUS.get(err.status_code, ProblemCode.INVALID_REQUEST)
        headers, detail = dict(err.headers or {}), str(err.detail)
        if err.status_code == 405:
            headers["Allow"] = allowed = ", ".join(_methods_of(request))
            detail = f"This address does not take {request.method[:20]}: send {allowed}."
        return answer(request, err.status_code, code, detail, headers=headers)

    async def on_invalid(request: Request, err: Exception) -> Response:
        assert isinstance(err, RequestValidationError)
        errors = err.errors()
        malformed = any(error["type"] == "json_invalid" for error in errors)
        return answer(
            request,
            400 if malformed else 422,
            ProblemCode.INVALID_REQUEST,
            "The request is not as the interface describes it: see `errors`.",
            errors=describe_errors(errors),
        )

    async def on_unexpected(request: Request, err: Exception) -> Response:
        _log.error("request failed", path=request.url.path, exc_info=err)
        return answer(
            request,
            500,
            ProblemCode.INTERNAL,
            "The service failed; nothing was lost. The log has the reason under request_id.",
        )

    app.add_exception_handler(ApiProblem, on_api_problem)
    app.add_exception_handler(IntakeError, on_intake)
    app.add_exception_handler(ViewerError, on_viewer)
    for kind in PROBLEMS:
        app.add_exception_handler(kind, on_listed)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_unexpected)


def _methods_of(request: Request) -> list[str]:
    """What an address takes; the router itself tells the methods of one of its routes only."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _phrase(status: int) -> str:
    """A status in words; 460 is tus's own."""
    return "Checksum Mismatch" if status == 460 else HTTPStatus(status).phrase


def describe_errors(errors: Any) -> tuple[str, ...]:
    """Each refused field of a pydantic error: where, and why; never the value."""
    return tuple(
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the problem documents a route can answer with, beside those all can."""
    headers = {
        "Retry-After": {
            "description": "Seconds to wait before another try.",
            "schema": {"type": "integer"},
        }
    }
    return {
        status: {
            "description": _phrase(status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": headers} if status in {429, 503} else {}),
        }
        for status in sorted({401, 403, 422, 429, 500, 503, *statuses})
    }
