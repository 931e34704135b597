"""Scans: made, looked up, listed, cancelled, purged. How they run is in `lifecycle`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from service.contract.scan import Priority, Scan, ScanState
from service.store.columns import now
from service.store.creation import Created, NewScan, create_scan
from service.store.deliveries import note_end
from service.store.engine import writing
from service.store.lookup import Lookup
from service.store.scan_rows import NOT_RUNNING, OPEN, ScanMissing, ScanNotOver, as_scan
from service.store.tables import IdempotencyRow, ReviewRow, ScanRow


@dataclass(frozen=True, slots=True)
class ScanFilter:
    """Which scans to list; None: any."""

    state: ScanState | None = None
    accession: str | None = None
    batch_id: str | None = None
    slide_sha256: str | None = None
    priority: Priority | None = None
    submitted_from: datetime | None = None
    submitted_to: datetime | None = None


class Scans:
    """The scans of an installation. Safe to share between threads, not across a fork."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows = Lookup(engine, ScanRow.metadata.tables[ScanRow.__tablename__])

    def create(self, new: NewScan) -> Created:
        """A queued scan, or the one that exists for the same slide, model and parameters.

        Two equal requests at the same moment get the same scan: the database decides.

        Raises:
            IdempotencyMismatch: the client used its key for another request.
        """
        for _ in range(8):
            try:
                with writing(self._engine) as connection:
                    return create_scan(connection, new)
            except IntegrityError:  # another process made it between our look and our insert
                continue
        raise AssertionError("a scan could neither be made nor found")

    def get(self, scan_id: str) -> Scan:
        """One scan, with its place in the queue.

        Raises:
            ScanMissing: there is none of that name.
        """
        row = self._rows.find(scan_id)
        if row is None:
            raise ScanMissing(scan_id)
        return as_scan(row, self._queue_position(row) if row.state == "queued" else None)

    def find_row(self, scan_id: str) -> Row[Any] | None:
        """Everything stored of a scan; None if there is none of that name."""
        with self._engine.connect() as connection:
            return connection.execute(
                select(ScanRow.__table__).where(ScanRow.id == scan_id)
            ).first()

    def row(self, scan_id: str) -> Row[Any]:
        """Everything stored of a scan.

        Raises:
            ScanMissing: there is none of that name.
        """
        row = self.find_row(scan_id)
        if row is None:
            raise ScanMissing(scan_id)
        return row

    def list(self, wanted: ScanFilter, *, limit: int, before: str | None = None) -> Sequence[Scan]:
        """Scans, newest first; `before` is the last name of the part before."""
        query = select(ScanRow.__table__).order_by(ScanRow.id.desc()).limit(limit)
        equal = {
            ScanRow.state: wanted.state,
            ScanRow.accession: wanted.accession,
            ScanRow.batch_id: wanted.batch_id,
            ScanRow.slide_sha256: wanted.slide_sha256,
            ScanRow.queue: wanted.priority,
        }
        for column, value in equal.items():
            if value is not None:
                query = query.where(column == value)
        if wanted.submitted_from:
            query = query.where(ScanRow.submitted_at >= wanted.submitted_from)
        if wanted.submitted_to:
            query = query.where(ScanRow.submitted_at < wanted.submitted_to)
        if before:
            query = query.where(ScanRow.id < before)
        with self._engine.connect() as connection:
            return [as_scan(row) for row in connection.execute(query)]

    def count(self, state: ScanState, priority: Priority | None = None) -> int:
        """How many scans are in a state."""
        query = select(func.count()).select_from(ScanRow).where(ScanRow.state == state)
        if priority is not None:
            query = query.where(ScanRow.queue == priority)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def cancel(self, scan_id: str) -> Scan:
        """End a scan that waits or runs; one that is over stays as it is.

        The worker notices within a second that its writes no longer count.

        Raises:
            ScanMissing: there is none of that name.
        """
        moment = now()
        with writing(self._engine) as connection:
            cancelled = connection.execute(
                update(ScanRow)
                .where(ScanRow.id == scan_id, ScanRow.state.in_(OPEN))
                .values(
                    state=ScanState.CANCELLED,
                    finished_at=moment,
                    dedupe_key=None,
                    failure_code=None,
                    failure_message=None,
                    **NOT_RUNNING,
                )
            )
            if cancelled.rowcount == 1:
                note_end(connection, scan_id, moment)
        return self.get(scan_id)

    def forget_requests(self, scan_id: str) -> None:
        """Have the `Idempotency-Key` that a scan was asked for with stand for nothing any more."""
        with writing(self._engine) as connection:
            connection.execute(delete(IdempotencyRow).where(IdempotencyRow.scan_id == scan_id))

    def purge(self, scan_id: str) -> Row[Any]:
        """Forget a scan that is over, its reviews included; returns what was stored of it.

        Files are the caller's: it removes them before, so that a crash between leaves a scan
        without files, which can be purged again, and never files without a scan.

        Raises:
            ScanMissing: there is none of that name.
            ScanNotOver: it waits or runs.
        """
        with writing(self._engine) as connection:
            row = connection.execute(select(ScanRow.__table__).where(ScanRow.id == scan_id)).first()
            if row is None:
                raise ScanMissing(scan_id)
            if row.state in OPEN:
                raise ScanNotOver(scan_id)
            connection.execute(delete(ReviewRow).where(ReviewRow.scan_id == scan_id))
            connection.execute(delete(IdempotencyRow).where(IdempotencyRow.scan_id == scan_id))
            connection.execute(delete(ScanRow).where(ScanRow.id == scan_id))
        return row

    def _queue_position(self, row: Any) -> int:
        query = (
            select(func.count())
            .select_from(ScanRow)
            .where(
                ScanRow.state == ScanState.QUEUED,
                ScanRow.queue == row.queue,
                ScanRow.id < row.id,
            )
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one() + 1
