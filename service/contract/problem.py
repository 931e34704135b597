"""Errors of the HTTP interface, as RFC 9457 problem documents with a code of a fixed list."""

from enum import StrEnum

from pydantic import Field

from service.contract.record import Record


class ProblemCode(StrEnum):
    """Why a request was refused. Clients decide by this, never by the words."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    CONFLICT = "conflict"
    GONE = "gone"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED_UPLOAD = "malformed_upload"
    SLIDE_MISSING = "slide_missing"
    METADATA_TOO_LARGE = "metadata_too_large"
    SLIDE_TOO_LARGE = "slide_too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UPLOAD_ABORTED = "upload_aborted"
    UPLOAD_STALLED = "upload_stalled"
    TOO_MANY_UPLOADS = "too_many_uploads"
    TOO_MANY_UNFINISHED = "too_many_unfinished"
    UPLOAD_NOT_FOUND = "upload_not_found"
    UPLOAD_EXPIRED = "upload_expired"
    UPLOAD_UNFINISHED = "upload_unfinished"
    UPLOAD_LOCKED = "upload_locked"
    OFFSET_MISMATCH = "offset_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    UNSUPPORTED_PROTOCOL_VERSION = "unsupported_protocol_version"
    SLIDE_URI_INVALID = "slide_uri_invalid"
    SLIDE_URI_FORBIDDEN = "slide_uri_forbidden"
    SLIDE_URI_NOT_FOUND = "slide_uri_not_found"
    OBJECT_STORE_UNAVAILABLE = "object_store_unavailable"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    UNKNOWN_MODEL = "unknown_model"
    CALLBACK_REFUSED = "callback_refused"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    STORAGE_FULL = "storage_full"
    PIXELS_UNREADABLE = "pixels_unreadable"
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
