"""What happens to every request: a name, a limit on its body, security headers, a log line, counts.

Plain ASGI, because it must neither buffer uploads nor event streams.
"""

import re
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.contract.problem import ProblemCode
from service.problems import answer

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Sent unless a route says otherwise: an API needs no scripts, frames or foreign readers."""
CACHE_CONTROL: Final = (b"cache-control", b"no-store")
"""Patients' results belong into no cache, unless a route says otherwise."""

REQUESTS: Final = Counter(
    "smearscan_http_requests", "Requests answered.", ("method", "route", "status")
)
DURATION: Final = Histogram(
    "smearscan_http_request_seconds", "Time until the answer's first byte.", ("method", "route")
)

_log = structlog.get_logger(__name__)


class BodyTooLarge(Exception):
    """A request's body exceeds the limit of its route."""


class Edge:
    """The outermost layer.

    Args:
        app: what is inside.
        max_body_bytes: of a request that is not an upload.
        takes_uploads: whether a request's path and content type are an upload's, which has limits
            of its own.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, takes_uploads: Callable[[Request], bool]
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._takes_uploads = takes_uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything else goes on untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request.state.request_id = name = _name_request(request)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=name)
        exchange = _Exchange(scope, send, name)
        limited = receive
        if not self._takes_uploads(request):
            length = request.headers.get("content-length", "")
            if length.isdigit() and int(length) > self._max_body_bytes:
                await self._refuse(request, exchange)
                return
            limited = _limit(receive, self._max_body_bytes)
        try:
            await self._app(scope, limited, exchange.send)
        except BodyTooLarge:
            if exchange.status is None:
                await self._refuse(request, exchange)
        finally:
            exchange.finish()

    async def _refuse(self, request: Request, exchange: "_Exchange") -> None:
        detail = f"The body exceeds {self._max_body_bytes} bytes: send less, or a slide as a slide."
        response = answer(request, 413, ProblemCode.BODY_TOO_LARGE, detail)
        await response(request.scope, request.receive, exchange.send)
        exchange.finish()


class _Exchange:
    """One request and its answer, watched."""

    def __init__(self, scope: Scope, send: Send, name: str) -> None:
        self.status: int | None = None
        self._scope, self._send, self._name = scope, send, name
        self._start = time.perf_counter()
        self._first_byte_s = 0.0

    async def send(self, message: Message) -> None:
        """Pass on, with the headers every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._first_byte_s = time.perf_counter() - self._start
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            sent = {name.lower() for name, _ in headers}
            extra = ((b"x-request-id", self._name.encode()), *SECURITY_HEADERS, CACHE_CONTROL)
            headers += [pair for pair in extra if pair[0] not in sent]
            message = {**message, "headers": headers}
        await self._send(message)

    def finish(self) -> None:
        """Count and log."""
        route: Any = self._scope.get("route")
        path = getattr(route, "path", "(none)")
        method = self._scope["method"] if path != "(none)" else "(any)"
        status = self.status or 499
        REQUESTS.labels(method, path, status).inc()
        DURATION.labels(method, path).observe(self._first_byte_s)
        _log.debug(
            "answered",
            method=self._scope["method"],
            route=path,
            status=status,
            seconds=round(self._first_byte_s, 4),
        )


def _name_request(request: Request) -> str:
    """The client's own name for the request if it is harmless, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex


def _limit(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise BodyTooLarge
        return message

    return limited
