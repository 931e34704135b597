"""Scans: asked for, looked up, listed, cancelled, purged. How they run is in `lifecycle`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

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
from service.contract.submission import ScanMetadata
from service.store.columns import new_id, now
from service.store.deliveries import note_end
from service.store.engine import writing
from service.store.tables import IdempotencyRow, ReviewRow, ScanRow, SlideRow

IDEMPOTENCY_KEPT: Final = timedelta(days=7)
"""How long a client's retry finds its scan again."""


class StoreError(Exception):
    """What was asked contradicts what is stored."""


class ScanMissing(StoreError):
    """There is no such scan, or it was purged."""


class IdempotencyMismatch(StoreError):
    """An `Idempotency-Key` was used before for another request."""


class ScanNotOver(StoreError):
    """A scan that waits or runs cannot be purged."""


@dataclass(frozen=True, slots=True)
class SlideSource:
    """The slide of a new scan: stored bytes (`sha256`), or a file that stays where it is (`uri`).

    Attributes:
        size_bytes: of the file.
        format: as sniffed.
        sha256: of stored bytes.
        uri: of a file or object that is read in place.
        version: tells a changed file at the same URI from the one before, e.g. its mtime.
    """

    size_bytes: int
    format: str = ""
    sha256: str | None = None
    uri: str | None = None
    version: str = ""

    @property
    def identity(self) -> str:
        """Equal for two requests about the same bytes."""
        return self.sha256 or f"{self.uri}|{self.size_bytes}|{self.version}"


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A client's `Idempotency-Key`, and what it was sent with."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Created:
    """A scan, and whether it is a new one."""

    scan: Scan
    fresh: bool


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


def dedupe_key(slide: SlideSource, model_sha256: str, parameters: ScanParameters) -> str:
    """Equal for scans that must give the same result, hex."""
    asked = parameters.model_dump_json(exclude={"model"})
    return hashlib.sha256(f"{slide.identity}\n{model_sha256}\n{asked}".encode()).hexdigest()


class Scans:
    """The scans of an installation. Safe to share between threads, not across a fork."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        slide: SlideSource,
        metadata: ScanMetadata,
        *,
        submitted_by: str,
        model_sha256: str,
        request: ClientRequest | None = None,
        batch_id: str | None = None,
    ) -> Created:
        """A queued scan, or the one that exists for the same slide, model and parameters.

        Two equal requests at the same moment get the same scan: the database decides.

        Raises:
            IdempotencyMismatch: the client used its key for another request.
        """
        for _ in range(8):
            try:
                with writing(self._engine) as connection:
                    return self._create(
                        connection, slide, metadata, submitted_by, model_sha256, request, batch_id
                    )
            except IntegrityError:  # another process made it between our look and our insert
                continue
        raise AssertionError("a scan could neither be made nor found")

    def create_in(
        self,
        connection: Connection,
        slide: SlideSource,
        metadata: ScanMetadata,
        *,
        submitted_by: str,
        model_sha256: str,
        batch_id: str,
    ) -> Created:
        """As `create`, within the caller's transaction, which may have to be begun again.

        Raises:
            IntegrityError: another process made the scan between our look and our insert.
        """
        return self._create(connection, slide, metadata, submitted_by, model_sha256, None, batch_id)

    def get(self, scan_id: str) -> Scan:
        """One scan, with its place in the queue.

        Raises:
            ScanMissing: there is none of that name.
        """
        with self._engine.connect() as connection:
            row = connection.execute(select(ScanRow.__table__).where(ScanRow.id == scan_id)).first()
            if row is None:
                raise ScanMissing(scan_id)
            position = _queue_position(connection, row) if row.state == "queued" else None
        return as_scan(row, position)

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

    def _create(
        self,
        connection: Connection,
        slide: SlideSource,
        metadata: ScanMetadata,
        submitted_by: str,
        model_sha256: str,
        request: ClientRequest | None,
        batch_id: str | None,
    ) -> Created:
        if request is not None:
            earlier = connection.execute(
                select(IdempotencyRow.fingerprint, IdempotencyRow.scan_id).where(
                    IdempotencyRow.api_key_id == submitted_by, IdempotencyRow.key == request.key
                )
            ).first()
            if earlier is not None:
                if earlier.fingerprint != request.fingerprint:
                    raise IdempotencyMismatch(request.key)
                return Created(_read(connection, earlier.scan_id), fresh=False)
        key = dedupe_key(slide, model_sha256, metadata.analysis)
        found = connection.execute(
            select(ScanRow.__table__).where(ScanRow.dedupe_key == key)
        ).first()
        if found is not None and metadata.force:
            connection.execute(
                update(ScanRow).where(ScanRow.id == found.id).values(dedupe_key=None)
            )
            found = None
        scan = as_scan(found) if found is not None else None
        if scan is None:
            scan = _insert(connection, slide, metadata, submitted_by, model_sha256, key, batch_id)
        if request is not None:
            connection.execute(
                insert(IdempotencyRow).values(
                    api_key_id=submitted_by,
                    key=request.key,
                    fingerprint=request.fingerprint,
                    scan_id=scan.scan_id,
                    created_at=now(),
                )
            )
        return Created(scan, fresh=found is None)


OPEN: Final = (ScanState.QUEUED, ScanState.RUNNING)
NOT_RUNNING: Final[dict[str, None]] = {"stage": None, "done": None, "total": None, "worker": None}
"""Columns that only a running scan has."""


def as_scan(row: Row[Any], queue_position: int | None = None) -> Scan:
    """A stored scan as the contract knows it."""
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


def _insert(
    connection: Connection,
    slide: SlideSource,
    metadata: ScanMetadata,
    submitted_by: str,
    model_sha256: str,
    key: str,
    batch_id: str | None,
) -> Scan:
    moment = now()
    if slide.sha256 is not None:
        _note_slide(connection, slide.sha256, slide, moment)
    scan_id = new_id()
    connection.execute(
        insert(ScanRow).values(
            id=scan_id,
            state=ScanState.QUEUED,
            attempt=1,
            tries=0,
            queue=metadata.priority,
            not_before=moment,
            slide_sha256=slide.sha256,
            slide_uri=slide.uri,
            slide_bytes=slide.size_bytes,
            parameters=json.loads(metadata.analysis.model_dump_json()),
            model_sha256=model_sha256,
            dedupe_key=key,
            accession=metadata.accession,
            specimen=metadata.specimen,
            callback_url=None if metadata.callback_url is None else str(metadata.callback_url),
            batch_id=batch_id,
            submitted_by=submitted_by,
            submitted_at=moment,
        )
    )
    return _read(connection, scan_id)


def _note_slide(connection: Connection, sha256: str, slide: SlideSource, moment: datetime) -> None:
    """Have a row for the stored bytes; one that was purged before is there again."""
    known = connection.execute(select(SlideRow.sha256).where(SlideRow.sha256 == sha256)).first()
    if known is None:
        connection.execute(
            insert(SlideRow).values(
                sha256=sha256, size_bytes=slide.size_bytes, format=slide.format, stored_at=moment
            )
        )
    else:
        connection.execute(
            update(SlideRow)
            .where(SlideRow.sha256 == sha256)
            .values(stored_at=moment, purged_at=None)
        )


def _read(connection: Connection, scan_id: str) -> Scan:
    return as_scan(connection.execute(select(ScanRow.__table__).where(ScanRow.id == scan_id)).one())


def _queue_position(connection: Connection, row: Row[Any]) -> int:
    before = connection.execute(
        select(func.count())
        .select_from(ScanRow)
        .where(ScanRow.state == ScanState.QUEUED, ScanRow.queue == row.queue, ScanRow.id < row.id)
    ).scalar_one()
    return before + 1
