"""Who did what, when. Only ever added to; the database refuses everything else."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, Row, insert, select

from service.store.columns import now
from service.store.engine import writing
from service.store.tables import AuditRow


class Action(StrEnum):
    """What is worth remembering."""

    SUBMITTED = "submitted"
    READ_REPORT = "read_report"
    READ_CELLS = "read_cells"
    READ_PIXELS = "read_pixels"
    REVIEWED = "reviewed"
    CANCELLED = "cancelled"
    PURGED = "purged"
    EXPIRED = "expired"
    BATCH_SUBMITTED = "batch_submitted"
    BATCH_CHANGED = "batch_changed"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"


class Audit:
    """The audit log of an installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(
        self,
        actor: str,
        action: Action,
        *,
        scan_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Add an entry.

        Args:
            actor: id of an API key, or "system", or "cli".
            action: what was done.
            scan_id: to which scan.
            detail: what else; never a slide's name or a person's.
        """
        with writing(self._engine) as connection:
            connection.execute(
                insert(AuditRow).values(
                    at=now(), actor=actor, action=action, scan_id=scan_id, detail=detail
                )
            )

    def entries(self, *, scan_id: str | None = None) -> Iterator[Row[Any]]:
        """Entries, oldest first."""
        query = select(AuditRow.__table__).order_by(AuditRow.id)
        if scan_id is not None:
            query = query.where(AuditRow.scan_id == scan_id)
        with self._engine.connect() as connection:
            yield from connection.execute(query)
