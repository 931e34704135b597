"""Errors of the HTTP interface, as RFC 9457 problem documents with a code of a fixed list."""

from enum import StrEnum

from pydantic import Field

from service.contract.record import Record


class ProblemCode(StrEnum):
    """Why a request was refused. Clients decide by this, never by the words."""

    INVALID_REQUEST = "invalid_request"
    MALFORMED_UPLOAD = "malformed_upload"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    CONFLICT = "conflict"
    NOT_READY = "not_ready"
    GONE = "gone"
    PRECONDITION_FAILED = "precondition_failed"
    BODY_TOO_LARGE = "body_too_large"
    SLIDE_TOO_LARGE = "slide_too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    UNKNOWN_MODEL = "unknown_model"
    REFERENCE_REFUSED = "reference_refused"
    CALLBACK_REFUSED = "callback_refused"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    STORAGE_FULL = "storage_full"
    VIEWER_UNAVAILABLE = "viewer_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL = "internal"


class Problem(Record):
    """Body of every answer from 400 up, `application/problem+json`."""

    type: str = Field(default="about:blank", description="Always about:blank: see `code`.")
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    code: ProblemCode = Field(description="What went wrong, for programs.")
    detail: str = Field(description="What went wrong, for people: value, limit, remedy.")
    request_id: str | None = Field(
        default=None, description="Names this request in the service's log."
    )
    errors: tuple[str, ...] = Field(
        default=(), description="Each field that was refused: where, and why."
    )
