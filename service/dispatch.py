"""Scans that SQL says are open are handed to the workers; lost ones again.

`hand_over` is called when a scan is made; `Dispatcher.run_once` again and again by the reconciler.
Both may run anywhere at any time: a job that is handed over twice is claimed once.
"""

from datetime import timedelta
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Row, select, update

from service.contract.failure import AnalysisError, FailureCode
from service.contract.scan import Priority, ScanState
from service.installation import Installation
from service.jobs import job_id
from service.store.columns import now
from service.store.engine import writing
from service.store.tables import ScanRow

GRACE: Final = timedelta(seconds=10)
"""A job that was handed over this recently may be between the queue and its worker."""
SLICE: Final = 500
"""Scans handed over at a time."""

_log = structlog.get_logger(__name__)


def hand_over(installation: Installation, row: Row[Any]) -> bool:
    """Put a queued scan into its queue; False while Redis does not answer."""
    if not installation.jobs.enqueue(row):
        _log.warning("the queue does not answer; the reconciler tries again", scan_id=row.id)
        return False
    with writing(installation.engine) as connection:
        connection.execute(
            update(ScanRow)
            .where(ScanRow.id == row.id, ScanRow.attempt == row.attempt)
            .values(enqueued_at=now())
        )
    return True


class Dispatcher:
    """Brings the queue in line with SQL."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def run_once(self) -> None:
        """Give up runs that show no sign of life, and hand over what should be in a queue.

        Raises:
            RedisError: the queue does not answer. Nothing is lost; the next round does it.
        """
        self.give_up_lost()
        waiting = self._installation.jobs.waiting()
        for priority in Priority:
            self._hand_over_missing(priority, waiting)

    def give_up_lost(self) -> list[str]:
        """End attempts whose worker was not seen for too long; returns their scans."""
        settings = self._installation.settings
        before = now() - timedelta(seconds=settings.lost_after_s)
        query = select(ScanRow.id, ScanRow.attempt, ScanRow.worker).where(
            ScanRow.state == ScanState.RUNNING, ScanRow.seen_at < before
        )
        with self._installation.engine.connect() as connection:
            silent = connection.execute(query).all()
        failure = AnalysisError(
            FailureCode.WORKER_LOST,
            f"the worker gave no sign of life for {settings.lost_after_s:g} s: it was killed, or"
            " its machine is down",
        ).failure
        for row in silent:
            state = self._installation.lifecycle.fail(row.id, row.attempt, failure)
            _log.warning("worker lost", scan_id=row.id, worker=row.worker, now=state)
        return [row.id for row in silent]

    def _hand_over_missing(self, priority: Priority, waiting: set[str]) -> None:
        """Hand over queued scans that no queue holds, oldest first.

        Of the archive only so many stand in the queue at a time: a hundred thousand slides wait in
        SQL, and Redis holds what workers need next.
        """
        installation = self._installation
        moment = now()
        query = (
            select(ScanRow.__table__)
            .where(
                ScanRow.state == ScanState.QUEUED,
                ScanRow.queue == priority,
                ScanRow.not_before <= moment,
            )
            .order_by(ScanRow.id)
        )
        if priority is Priority.ARCHIVE:
            query = query.limit(installation.settings.archive_ahead)
        with installation.engine.connect() as connection:
            due = connection.execute(query).all()
        missing = [
            row
            for row in due
            if job_id(row.id, row.attempt) not in waiting
            and (row.enqueued_at is None or row.enqueued_at < moment - GRACE)
        ]
        for row in missing[:SLICE]:
            try:
                if not hand_over(installation, row):
                    return
            except RedisError:
                return
