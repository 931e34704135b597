"""Batches: asked for, listed, paused, resumed, cancelled, finished. Their slides: `batch_items`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    and_,
    case,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from service.contract.batch import Batch, BatchCounts, BatchSources, BatchState, ItemState
from service.contract.scan import Progress, ScanParameters
from service.store.batch_items import UNFINISHED, BatchItems, NewItem, insert_items
from service.store.columns import new_id, now
from service.store.engine import writing
from service.store.scan_rows import StoreError
from service.store.tables import BatchItemRow, BatchRow


class BatchMissing(StoreError):
    """There is no such batch."""


class BatchOver(StoreError):
    """A batch that is done or cancelled can be neither paused nor resumed."""

    def __init__(self, state: BatchState) -> None:
        super().__init__(
            f"The batch is {state}: it can be neither paused nor resumed. Ask for a new one; what"
            " is scanned is skipped."
        )


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be made.

    Attributes:
        name: for people.
        sources: where slides come from.
        parameters: of every scan.
        force: scan anew what is scanned.
        model_sha256: of the weights that are served now.
        submitted_by: id of an API key.
        items: slides that are known already.
        is_listed: there are no others.
    """

    name: str
    sources: BatchSources
    parameters: ScanParameters
    force: bool
    model_sha256: str
    submitted_by: str
    items: Sequence[NewItem] = ()
    is_listed: bool = False

    @property
    def open_key(self) -> str:
        """Equal for requests that ask for the same work, hex."""
        asked = (
            self.sources.model_dump_json(),
            self.parameters.model_dump_json(),
            str(self.force),
            self.model_sha256,
        )
        return hashlib.sha256("\n".join(asked).encode()).hexdigest()


class Batches:
    """The batches of an installation. Safe to share between threads, not across a fork."""

    def __init__(self, engine: Engine, items: BatchItems) -> None:
        self._engine = engine
        self._items = items

    def create(self, wanted: NewBatch) -> tuple[Batch, bool]:
        """A new batch, or the unfinished one that does the same; and whether it is new."""
        for _ in range(8):
            try:
                with writing(self._engine) as connection:
                    batch_id, fresh = _create(connection, wanted)
                return self.get(batch_id), fresh
            except IntegrityError:  # another process made it between our look and our insert
                continue
        raise AssertionError("a batch could neither be made nor found")

    def get(self, batch_id: str) -> Batch:
        """One batch.

        Raises:
            BatchMissing: there is none of that name.
        """
        row = self._row(batch_id)
        return as_batch(row, self._items.counts([row.id])[row.id])

    def check(self, batch_id: str) -> None:
        """Whether there is such a batch.

        Raises:
            BatchMissing: there is none of that name.
        """
        self._row(batch_id)

    def list(
        self, *, state: BatchState | None, limit: int, before: str | None = None
    ) -> Sequence[Batch]:
        """Batches, newest first; `before` is the last name of the part before."""
        query = select(BatchRow.__table__).order_by(BatchRow.id.desc()).limit(limit)
        if state is not None:
            query = query.where(BatchRow.state == state)
        if before:
            query = query.where(BatchRow.id < before)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        counts = self._items.counts([row.id for row in rows])
        return [as_batch(row, counts[row.id]) for row in rows]

    def unfinished(self) -> Sequence[Row[Any]]:
        """Batches with which something may still happen, oldest first."""
        query = (
            select(BatchRow.__table__).where(BatchRow.finished_at.is_(None)).order_by(BatchRow.id)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def pause(self, batch_id: str, message: str | None = None) -> Batch:
        """Begin no further scan; those that wait or run go on.

        Raises:
            BatchMissing: there is none of that name.
            BatchOver: it is done or cancelled.
        """
        return self._change(
            batch_id,
            (BatchState.LISTING, BatchState.RUNNING),
            state=BatchState.PAUSED,
            message=message,
        )

    def resume(self, batch_id: str) -> Batch:
        """Begin scans again.

        Raises:
            BatchMissing: there is none of that name.
            BatchOver: it is done or cancelled.
        """
        listing = BatchRow.listed_at.is_(None)
        return self._change(
            batch_id,
            (BatchState.PAUSED,),
            state=case((listing, str(BatchState.LISTING)), else_=str(BatchState.RUNNING)),
            message=None,
        )

    def cancel(self, batch_id: str) -> Batch:
        """Give up what has not begun; a batch that is over stays as it is.

        Its open scans are the caller's to stop (`BatchItems.stop_scans`), and the reconciler's if
        the caller dies: the batch is not finished before they are over.

        Raises:
            BatchMissing: there is none of that name.
        """
        open_states = (BatchState.LISTING, BatchState.RUNNING, BatchState.PAUSED)
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(BatchRow)
                .where(BatchRow.id == batch_id, BatchRow.state.in_(open_states))
                .values(state=BatchState.CANCELLED, open_key=None, message=None)
            )
            if changed.rowcount == 1:
                connection.execute(
                    update(BatchItemRow)
                    .where(
                        BatchItemRow.batch_id == batch_id, BatchItemRow.state == ItemState.PENDING
                    )
                    .values(state=ItemState.CANCELLED)
                )
        return self.get(batch_id)

    def end_listing(self, batch_id: str, *, passed_over: int) -> bool:
        """Note that all slides were found; False if the batch is not being listed any more."""
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(BatchRow)
                .where(BatchRow.id == batch_id, BatchRow.state == BatchState.LISTING)
                .values(state=BatchState.RUNNING, listed_at=now(), passed_over=passed_over)
            )
        return changed.rowcount == 1

    def finish(self) -> int:
        """End the batches with which nothing more will happen; returns how many."""
        left = exists().where(
            BatchItemRow.batch_id == BatchRow.id, BatchItemRow.state.in_(UNFINISHED)
        )
        active = BatchRow.state.in_((BatchState.RUNNING, BatchState.PAUSED))
        cancelled = BatchRow.state == BatchState.CANCELLED
        with writing(self._engine) as connection:
            ended = connection.execute(
                update(BatchRow)
                .where(
                    BatchRow.finished_at.is_(None),
                    or_(and_(active, BatchRow.listed_at.is_not(None)), cancelled),
                    ~left,
                )
                .values(
                    state=case((cancelled, BatchRow.state), else_=str(BatchState.DONE)),
                    message=case(
                        (BatchRow.listed == 0, "no slide was found: check the sources"), else_=None
                    ),
                    open_key=None,
                    finished_at=now(),
                )
            )
        return ended.rowcount

    def forget(self, *, finished_before: datetime) -> Sequence[str]:
        """Forget batches that ended so long ago, with their lists of slides.

        Their scans stay.

        Returns:
            Names of those that this call removed, and no other that runs at the same time.
        """
        due = select(BatchRow.id).where(BatchRow.finished_at < finished_before)
        with self._engine.connect() as connection:
            names = connection.execute(due).scalars().all()
        return [name for name in names if self._remove(name)]

    def _remove(self, batch_id: str) -> bool:
        """Remove one by itself: each holds up other writers. False: somebody else did."""
        with writing(self._engine) as connection:
            removed = connection.execute(delete(BatchRow).where(BatchRow.id == batch_id))
        return removed.rowcount == 1

    def _row(self, batch_id: str) -> Row[Any]:
        query = select(BatchRow.__table__).where(BatchRow.id == batch_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise BatchMissing(batch_id)
        return row

    def _change(self, batch_id: str, before: Sequence[BatchState], **values: Any) -> Batch:
        """Move a batch on from some states; one that is there already stays as it is."""
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(BatchRow)
                .where(BatchRow.id == batch_id, BatchRow.state.in_(before))
                .values(**values)
            )
        batch = self.get(batch_id)
        if changed.rowcount == 0 and batch.state.is_terminal:
            raise BatchOver(batch.state)
        return batch


def as_batch(row: Row[Any], counts: BatchCounts) -> Batch:
    """A stored batch as the contract knows it."""
    return Batch(
        batch_id=row.id,
        name=row.name,
        state=BatchState(row.state),
        sources=BatchSources.model_validate(row.sources),
        parameters=ScanParameters.model_validate(row.parameters),
        force=row.force,
        counts=counts,
        progress=Progress(done=counts.ended, total=counts.total),
        is_listed=row.listed_at is not None,
        passed_over=row.passed_over,
        message=row.message,
        submitted_at=row.submitted_at,
        finished_at=row.finished_at,
    )


def _create(connection: Connection, wanted: NewBatch) -> tuple[str, bool]:
    found = connection.execute(
        select(BatchRow.id).where(BatchRow.open_key == wanted.open_key)
    ).first()
    if found is not None:
        return found.id, False
    moment = now()
    batch_id = new_id()
    connection.execute(
        insert(BatchRow).values(
            id=batch_id,
            name=wanted.name,
            state=BatchState.RUNNING if wanted.is_listed else BatchState.LISTING,
            sources=json.loads(wanted.sources.model_dump_json()),
            parameters=json.loads(wanted.parameters.model_dump_json()),
            force=wanted.force,
            open_key=wanted.open_key,
            listed=0,
            listed_at=moment if wanted.is_listed else None,
            passed_over=0,
            submitted_by=wanted.submitted_by,
            submitted_at=moment,
        )
    )
    insert_items(connection, batch_id, 0, wanted.items)
    return batch_id, True
