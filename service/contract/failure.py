"""Why a scan failed: one code, one sentence with value, limit and remedy.

AnalysisError
├── SlideError              the file: unsupported_format, slide_unreadable, slide_too_large,
│   │                       resolution_missing, resolution_unsupported
│   └── RegionUnreadable    one region; skipped and counted until the failure budget is spent
└── (raised with any other code by pipeline and worker)
"""

import errno
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field


class FailureCode(StrEnum):
    """Why a scan ended in `failed`."""

    UNSUPPORTED_FORMAT = "unsupported_format"
    SLIDE_UNREADABLE = "slide_unreadable"
    SLIDE_TOO_LARGE = "slide_too_large"
    RESOLUTION_MISSING = "resolution_missing"
    RESOLUTION_UNSUPPORTED = "resolution_unsupported"
    NO_MONOLAYER = "no_monolayer"
    TILE_FAILURES_EXCEEDED = "tile_failures_exceeded"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_LOST = "worker_lost"
    MODEL_UNAVAILABLE = "model_unavailable"
    STORAGE_FULL = "storage_full"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


RETRYABLE: Final[frozenset[FailureCode]] = frozenset(
    {
        FailureCode.TIMEOUT,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.WORKER_LOST,
        FailureCode.MODEL_UNAVAILABLE,
        FailureCode.STORAGE_FULL,
    }
)
"""Codes for which the same slide may succeed on another try; a property of the code alone."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The system's errors that mean full storage: of the disk, of a quota, of a file's size."""


class Failure(BaseModel):
    """A failure as stored, sent over HTTP and printed by the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: FailureCode = Field(description="Why, as one of a fixed list.")
    message: str = Field(
        description="What failed: value, limit and remedy. No paths, no traceback."
    )
    retryable: bool = Field(description="Whether the same slide may succeed on another try.")


class AnalysisError(Exception):
    """A scan cannot go on.

    Args:
        code: why; decides whether a retry can help.
        message: value, limit and remedy, in one or two sentences, without file-system paths.
    """

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def failure(self) -> Failure:
        """This error as the contract's record."""
        return Failure(code=self.code, message=self.message, retryable=self.code in RETRYABLE)


class SlideError(AnalysisError):
    """The slide file itself is the reason."""


class RegionUnreadable(SlideError):
    """Pixels of one region cannot be read; the rest of the slide may well be readable."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureCode.SLIDE_UNREADABLE, message)
