"""A scan's row: what it says, and what about it can contradict a request."""

from typing import Any, Final

from service.contract.failure import RETRYABLE, Failure, FailureCode
from service.contract.scan import (
    Priority,
    Progress,
    Scan,
    ScanParameters,
    ScanState,
    ScanSummary,
    Stage,
)

OPEN: Final = (ScanState.QUEUED, ScanState.RUNNING)
NOT_RUNNING: Final[dict[str, None]] = {"stage": None, "done": None, "total": None, "worker": None}
"""Columns that only a running scan has."""


class StoreError(Exception):
    """What was asked contradicts what is stored."""


class ScanMissing(StoreError):
    """There is no such scan, or it was purged."""


class ScanNotOver(StoreError):
    """A scan that waits or runs cannot be purged."""


def as_scan(row: Any, queue_position: int | None = None) -> Scan:
    """A stored scan, a row of any kind, as the contract knows it."""
    progress = None
    if row.stage is not None and row.total:
        progress = Progress(done=min(row.done or 0, row.total), total=row.total)
    failure = None
    if row.failure_code is not None:
        code = FailureCode(row.failure_code)
        failure = Failure(code=code, message=row.failure_message, retryable=code in RETRYABLE)
    return Scan(
        scan_id=row.id,
        state=ScanState(row.state),
        stage=None if row.stage is None else Stage(row.stage),
        progress=progress,
        queue_position=queue_position,
        tries=row.tries,
        seen_at=row.seen_at,
        failure=failure,
        summary=None if row.summary is None else ScanSummary.model_validate(row.summary),
        parameters=ScanParameters.model_validate(row.parameters),
        priority=Priority(row.queue),
        slide_sha256=row.slide_sha256,
        slide_bytes=row.slide_bytes,
        accession=row.accession,
        specimen=row.specimen,
        batch_id=row.batch_id,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
