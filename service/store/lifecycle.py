"""How a scan runs: claimed by one worker, seen alive, ended once.

Every write names the attempt it belongs to. A write of an attempt that was given up (lost,
cancelled, tried again) changes nothing and says so: the worker stops.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Engine, Row, select, update

from service.contract.failure import RETRYABLE, Failure, FailureCode
from service.contract.quality import Severity
from service.contract.report import Report
from service.contract.scan import GroupSummary, ScanState, ScanSummary, Stage
from service.store.columns import now
from service.store.deliveries import note_end
from service.store.engine import writing
from service.store.scan_rows import NOT_RUNNING
from service.store.tables import ScanRow

MAX_BACKOFF: Final = timedelta(minutes=10)
NOT_THE_SLIDES: Final = frozenset({FailureCode.MODEL_UNAVAILABLE, FailureCode.STORAGE_FULL})
"""Failures that no slide causes: they are waited out much longer."""
PATIENCE: Final = 10
"""Times as many tries for those: about six hours with the default settings."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how soon a failed scan is tried again.

    Attributes:
        max_attempts: tries in all.
        backoff_s: wait before the second, s; doubles with each further one.
    """

    max_attempts: int
    backoff_s: float

    def wait(self, tries: int) -> timedelta:
        """Before the next try, after that many failed."""
        doubled = 2 ** min(tries - 1, 20)
        return min(timedelta(seconds=self.backoff_s * doubled), MAX_BACKOFF)

    def allow(self, code: FailureCode, tries: int) -> bool:
        """Whether a scan that failed that often may be tried again."""
        limit = self.max_attempts * (PATIENCE if code in NOT_THE_SLIDES else 1)
        return code in RETRYABLE and tries < limit


class Lifecycle:
    """Transitions of scans that workers and the reconciler make. Each is one transaction."""

    def __init__(self, engine: Engine, retries: Retries) -> None:
        self._engine = engine
        self._retries = retries

    def claim(self, scan_id: str, attempt: int, worker: str) -> Row[Any] | None:
        """Take a queued scan; None if somebody else has it, or it is over."""
        moment = now()
        with writing(self._engine) as connection:
            row = connection.execute(
                select(ScanRow.__table__).where(
                    ScanRow.id == scan_id,
                    ScanRow.attempt == attempt,
                    ScanRow.state == ScanState.QUEUED,
                )
            ).first()
            if row is None:
                return None
            claimed = connection.execute(
                update(ScanRow)
                .where(
                    ScanRow.id == scan_id,
                    ScanRow.attempt == attempt,
                    ScanRow.state == ScanState.QUEUED,
                )
                .values(
                    state=ScanState.RUNNING,
                    stage=Stage.OPENING,
                    worker=worker,
                    seen_at=moment,
                    started_at=row.started_at or moment,
                    failure_code=None,
                    failure_message=None,
                )
            )
        return row if claimed.rowcount == 1 else None

    def touch(self, scan_id: str, attempt: int) -> bool:
        """Note a sign of life; False if the attempt no longer counts."""
        return self._write(scan_id, attempt, seen_at=now())

    def advance(self, scan_id: str, attempt: int, stage: Stage, done: int, total: int) -> bool:
        """Note where the scan stands; False if the attempt no longer counts."""
        return self._write(scan_id, attempt, stage=stage, done=done, total=total, seen_at=now())

    def note_slide(self, scan_id: str, attempt: int, sha256: str) -> bool:
        """Note the hash of a referenced slide, once it was read."""
        return self._write(scan_id, attempt, slide_sha256=sha256)

    def succeed(self, scan_id: str, attempt: int, report: Report) -> bool:
        """End a scan whose results are in place; False if the attempt no longer counts.

        If another model ran than the one served when the scan was asked for, the scan does not
        stand for that model's: a later request is scanned anew.
        """
        values: dict[str, Any] = {
            "state": ScanState.SUCCEEDED,
            "result_attempt": attempt,
            "slide_sha256": report.slide.sha256,
            "summary": summarise(report).model_dump(mode="json"),
        }
        with self._engine.connect() as connection:
            expected = connection.execute(
                select(ScanRow.model_sha256).where(ScanRow.id == scan_id)
            ).scalar()
        if expected != report.model.sha256:
            values |= {"model_sha256": report.model.sha256, "dedupe_key": None}
        return self._end(scan_id, attempt, **values)

    def fail(self, scan_id: str, attempt: int, failure: Failure) -> ScanState | None:
        """End an attempt: the scan waits for another one, or has failed for good.

        Returns:
            The state it is in now; None if the attempt no longer counts.
        """
        with self._engine.connect() as connection:
            tries = connection.execute(
                select(ScanRow.tries).where(ScanRow.id == scan_id, ScanRow.attempt == attempt)
            ).scalar()
        if tries is None:
            return None
        tries += 1
        values: dict[str, Any] = {
            "tries": tries,
            "failure_code": failure.code,
            "failure_message": failure.message,
        }
        if self._retries.allow(failure.code, tries):
            again = self._requeue(scan_id, attempt, self._retries.wait(tries), values)
            return ScanState.QUEUED if again else None
        ended = self._end(scan_id, attempt, state=ScanState.FAILED, dedupe_key=None, **values)
        return ScanState.FAILED if ended else None

    def release(self, scan_id: str, attempt: int) -> bool:
        """Give a running scan back to the queue, not counted as a try: its worker shuts down."""
        return self._requeue(scan_id, attempt, timedelta(0), {})

    def _requeue(self, scan_id: str, attempt: int, wait: timedelta, values: dict[str, Any]) -> bool:
        return self._write(
            scan_id,
            attempt,
            state=ScanState.QUEUED,
            attempt=attempt + 1,
            not_before=now() + wait,
            enqueued_at=None,
            **NOT_RUNNING,
            **values,
        )

    def _write(self, scan_id: str, fence: int, /, **values: Any) -> bool:
        with writing(self._engine) as connection:
            return _update_running(connection, scan_id, fence, values)

    def _end(self, scan_id: str, fence: int, /, **values: Any) -> bool:
        with writing(self._engine) as connection:
            moment = now()
            ended = _update_running(
                connection, scan_id, fence, {"finished_at": moment, **NOT_RUNNING, **values}
            )
            if ended:
                note_end(connection, scan_id, moment)
        return ended


def _update_running(connection: Any, scan_id: str, fence: int, values: dict[str, Any]) -> bool:
    result = connection.execute(
        update(ScanRow)
        .where(
            ScanRow.id == scan_id,
            ScanRow.attempt == fence,
            ScanRow.state == ScanState.RUNNING,
        )
        .values(values)
    )
    return bool(result.rowcount == 1)


def summarise(report: Report) -> ScanSummary:
    """What a work list shows of a report."""
    blast, atypical = (
        GroupSummary(count=group.count, percent=group.percent, ci95=group.ci95)
        for group in (report.blast, report.atypical)
    )
    return ScanSummary(
        n_leukocytes=report.n_leukocytes,
        blast=blast,
        atypical=atypical,
        warnings=tuple(
            flag.code for flag in report.quality.flags if flag.severity is Severity.WARNING
        ),
    )
