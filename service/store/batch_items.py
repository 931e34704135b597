"""Slides of batches: found once each, asked for once each, ended once each.

Whatever begins or adds something holds the batch's row: pausing and cancelling wait for it, and it
does nothing in a batch that was paused or cancelled before.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from service.contract.batch import BatchCounts, BatchItem, BatchState, ItemState
from service.contract.failure import RETRYABLE, Failure, FailureCode
from service.contract.scan import Priority, ScanParameters, ScanState
from service.contract.submission import ScanMetadata
from service.store.audit import Action
from service.store.creation import NewScan, SlideSource, create_scan
from service.store.engine import writing
from service.store.scan_rows import OPEN
from service.store.scans import Scans
from service.store.tables import AuditRow, BatchItemRow, BatchRow, ScanRow

SLICE: Final = 500
"""Items written or read at a time."""
BEGINNING: Final = (BatchState.LISTING, BatchState.RUNNING)
"""States in which scans are begun."""
UNFINISHED: Final = (ItemState.PENDING, ItemState.SUBMITTED)
_ENDS: Final = {
    ScanState.SUCCEEDED: ItemState.SUCCEEDED,
    ScanState.FAILED: ItemState.FAILED,
    ScanState.CANCELLED: ItemState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class NewItem:
    """A slide that was found, or something that should have been one and why it is not."""

    slide_uri: str
    um_per_px: float | None = None
    accession: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of asking for some slides' scans."""

    items: int
    new_scans: int


class BatchItems:
    """The slides of an installation's batches."""

    def __init__(self, engine: Engine, scans: Scans) -> None:
        self._engine = engine
        self._scans = scans

    def add(self, batch_id: str, items: Sequence[NewItem]) -> int | None:
        """Add slides that the batch has not yet; None if it is not being listed any more."""
        with writing(self._engine) as connection:
            batch = _hold(connection, batch_id, (BatchState.LISTING,))
            if batch is None:
                return None
            return insert_items(connection, batch_id, batch.listed, items)

    def pending(self, batch_id: str, limit: int) -> Sequence[Row[Any]]:
        """Slides that were not asked for yet, in their order."""
        query = (
            select(BatchItemRow.__table__)
            .where(BatchItemRow.batch_id == batch_id, BatchItemRow.state == ItemState.PENDING)
            .order_by(BatchItemRow.number)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def submit(
        self,
        batch_id: str,
        slides: Sequence[tuple[Row[Any], SlideSource | Failure]],
        *,
        model_sha256: str,
    ) -> Submitted | None:
        """Ask for scans, all or none of them; None if the batch begins none now.

        A slide with an equal scan gets that one, unless the batch is forced.

        Args:
            batch_id: of the batch.
            slides: items as `pending` gave them, each with its file, or why it has none.
            model_sha256: of the weights that will be used.
        """
        for _ in range(8):
            try:
                with writing(self._engine) as connection:
                    batch = _hold(connection, batch_id, BEGINNING)
                    if batch is None:
                        return None
                    made = [
                        self._submit(connection, batch, item, slide, model_sha256)
                        for item, slide in slides
                    ]
                return Submitted(items=len(made), new_scans=sum(made))
            except IntegrityError:  # an equal scan was asked for at the same moment
                continue
        raise AssertionError("scans could neither be made nor found")

    def settle(self, batch_id: str) -> int:
        """Note which scans are over; returns how many slides that ended."""
        query = (
            select(
                BatchItemRow.number, ScanRow.state, ScanRow.failure_code, ScanRow.failure_message
            )
            .outerjoin(ScanRow, ScanRow.id == BatchItemRow.scan_id)
            .where(
                BatchItemRow.batch_id == batch_id,
                BatchItemRow.state == ItemState.SUBMITTED,
                or_(ScanRow.id.is_(None), ScanRow.state.not_in(OPEN)),
            )
            .order_by(BatchItemRow.number)
        )
        with self._engine.connect() as connection:
            over = connection.execute(query).all()
        if not over:
            return 0
        with writing(self._engine) as connection:
            for row in over:
                # A scan that is gone was purged, which only one that is over can be.
                state = _ENDS[ScanState(row.state)] if row.state else ItemState.CANCELLED
                failed = state is ItemState.FAILED
                _end(
                    connection,
                    batch_id,
                    row.number,
                    ItemState.SUBMITTED,
                    state=state,
                    failure_code=row.failure_code if failed else None,
                    failure_message=row.failure_message if failed else None,
                )
        return len(over)

    def stop_scans(self, batch_id: str) -> int:
        """Cancel the open scans that only this batch wants; returns how many."""
        other = aliased(BatchItemRow)
        query = select(ScanRow.id).where(
            ScanRow.batch_id == batch_id,
            ScanRow.state.in_(OPEN),
            ~exists().where(
                other.scan_id == ScanRow.id,
                other.batch_id != batch_id,
                other.state == ItemState.SUBMITTED,
                other.batch_id == BatchRow.id,
                BatchRow.state != BatchState.CANCELLED,
            ),
            ~exists().where(AuditRow.scan_id == ScanRow.id, AuditRow.action == Action.SUBMITTED),
        )
        with self._engine.connect() as connection:
            unwanted = connection.execute(query).scalars().all()
        for scan_id in unwanted:
            self._scans.cancel(scan_id)
        return len(unwanted)

    def let_go(self, batch_id: str) -> int:
        """Stop waiting for scans that go on because others want them; returns how many.

        For a cancelled batch, once its own scans are stopped and settled.
        """
        goes_on = exists().where(ScanRow.id == BatchItemRow.scan_id, ScanRow.state.in_(OPEN))
        with writing(self._engine) as connection:
            left = connection.execute(
                update(BatchItemRow)
                .where(
                    BatchItemRow.batch_id == batch_id,
                    BatchItemRow.state == ItemState.SUBMITTED,
                    goes_on,
                )
                .values(state=ItemState.CANCELLED)
            )
        return left.rowcount

    def open_scans(self) -> Mapping[str | None, int]:
        """Scans that wait or run in the archive queue, by batch; None: those of no batch."""
        query = (
            select(ScanRow.batch_id, func.count())
            .where(ScanRow.state.in_(OPEN), ScanRow.queue == Priority.ARCHIVE)
            .group_by(ScanRow.batch_id)
        )
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def counts(self, batch_ids: Sequence[str]) -> dict[str, BatchCounts]:
        """Slides by state, of each batch."""
        query = (
            select(BatchItemRow.batch_id, BatchItemRow.state, func.count())
            .where(BatchItemRow.batch_id.in_(batch_ids))
            .group_by(BatchItemRow.batch_id, BatchItemRow.state)
        )
        found: dict[str, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
        with self._engine.connect() as connection:
            for batch_id, state, number in connection.execute(query):
                found[batch_id][state] = number
        return {batch_id: BatchCounts(**states) for batch_id, states in found.items()}

    def page(
        self, batch_id: str, *, state: ItemState | None, limit: int, after: int
    ) -> Sequence[BatchItem]:
        """Slides in their order; `after` is the last number of the part before, 0 at first."""
        query = (
            select(BatchItemRow.__table__)
            .where(BatchItemRow.batch_id == batch_id, BatchItemRow.number > after)
            .order_by(BatchItemRow.number)
            .limit(limit)
        )
        if state is not None:
            query = query.where(BatchItemRow.state == state)
        with self._engine.connect() as connection:
            return [as_item(row) for row in connection.execute(query)]

    def with_results(self, batch_id: str) -> Iterator[Row[Any]]:
        """Every slide with its scan's `summary`; in parts, so that no transaction stays open."""
        after = 0
        while True:
            query = (
                select(BatchItemRow.__table__, ScanRow.summary)
                .outerjoin(ScanRow, ScanRow.id == BatchItemRow.scan_id)
                .where(BatchItemRow.batch_id == batch_id, BatchItemRow.number > after)
                .order_by(BatchItemRow.number)
                .limit(SLICE)
            )
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
            yield from rows
            if len(rows) < SLICE:
                return
            after = rows[-1].number

    def _submit(
        self,
        connection: Connection,
        batch: Row[Any],
        item: Row[Any],
        slide: SlideSource | Failure,
        model_sha256: str,
    ) -> bool:
        """Ask for one scan; whether it is a new one."""
        if isinstance(slide, Failure):
            _end(
                connection,
                batch.id,
                item.number,
                ItemState.PENDING,
                state=ItemState.FAILED,
                failure_code=slide.code,
                failure_message=slide.message,
            )
            return False
        taken = _end(
            connection, batch.id, item.number, ItemState.PENDING, state=ItemState.SUBMITTED
        )
        if not taken:  # another process did it just now
            return False
        parameters = ScanParameters.model_validate(batch.parameters)
        metadata = ScanMetadata(
            **{
                **{name: getattr(parameters, name) for name in ScanParameters.model_fields},
                "um_per_px": item.um_per_px or parameters.um_per_px,
            },
            accession=item.accession,
            priority=Priority.ARCHIVE,
            force=batch.force,
        )
        new = NewScan(slide, metadata, batch.submitted_by, model_sha256, batch_id=batch.id)
        created = create_scan(connection, new)
        is_there = not created.fresh and created.scan.state is ScanState.SUCCEEDED
        _end(
            connection,
            batch.id,
            item.number,
            ItemState.SUBMITTED,
            state=ItemState.SKIPPED if is_there else ItemState.SUBMITTED,
            scan_id=created.scan.scan_id,
        )
        return created.fresh


def insert_items(
    connection: Connection, batch_id: str, listed: int, items: Iterable[NewItem]
) -> int:
    """Add slides to a batch whose row is held, each once; returns how many were new.

    Args:
        connection: in a transaction.
        batch_id: of the batch.
        listed: slides it has.
        items: to add, with any number of repetitions.
    """
    by_hash: dict[str, NewItem] = {}
    for item in items:
        by_hash.setdefault(hash_uri(item.slide_uri), item)
    hashes = list(by_hash)
    number = listed
    for start in range(0, len(hashes), SLICE):
        part = hashes[start : start + SLICE]
        known = set(
            connection.execute(
                select(BatchItemRow.uri_sha256).where(
                    BatchItemRow.batch_id == batch_id, BatchItemRow.uri_sha256.in_(part)
                )
            ).scalars()
        )
        rows = []
        for name in part:
            if name in known:
                continue
            number += 1
            rows.append(_as_row(batch_id, number, name, by_hash[name]))
        if rows:
            connection.execute(insert(BatchItemRow), rows)
    connection.execute(update(BatchRow).where(BatchRow.id == batch_id).values(listed=number))
    return number - listed


def hash_uri(slide_uri: str) -> str:
    """What makes a slide's place unique in a batch, hex."""
    return hashlib.sha256(slide_uri.encode()).hexdigest()


def as_item(row: Row[Any]) -> BatchItem:
    """A stored item as the contract knows it."""
    failure = None
    if row.failure_code is not None:
        code = FailureCode(row.failure_code)
        failure = Failure(code=code, message=row.failure_message, retryable=code in RETRYABLE)
    return BatchItem(
        number=row.number,
        slide_uri=row.slide_uri,
        um_per_px=row.um_per_px,
        accession=row.accession,
        state=ItemState(row.state),
        scan_id=row.scan_id,
        failure=failure,
    )


def _as_row(batch_id: str, number: int, uri_sha256: str, item: NewItem) -> dict[str, Any]:
    failure = item.failure
    return {
        "batch_id": batch_id,
        "number": number,
        "slide_uri": item.slide_uri,
        "uri_sha256": uri_sha256,
        "um_per_px": item.um_per_px,
        "accession": item.accession,
        "state": ItemState.PENDING if failure is None else ItemState.FAILED,
        "failure_code": None if failure is None else failure.code,
        "failure_message": None if failure is None else failure.message,
    }


def _hold(connection: Connection, batch_id: str, states: Sequence[BatchState]) -> Row[Any] | None:
    """The batch's row, locked until the transaction ends; None if it is in no such state."""
    return connection.execute(
        select(BatchRow.__table__)
        .where(BatchRow.id == batch_id, BatchRow.state.in_(states))
        .with_for_update()
    ).first()


def _end(
    connection: Connection, batch_id: str, number: int, before: ItemState, /, **values: Any
) -> bool:
    """Move an item on from a state; False if it is not in it."""
    moved = connection.execute(
        update(BatchItemRow)
        .where(
            and_(
                BatchItemRow.batch_id == batch_id,
                BatchItemRow.number == number,
                BatchItemRow.state == before,
            )
        )
        .values(**values)
    )
    return moved.rowcount == 1
