"""Column types that mean the same on SQLite and PostgreSQL, and names for rows."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON document."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, stored in UTC and read with its zone (SQLite keeps none)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a moment without a zone is a mistake of ours."""
        if value is None:
            return None
        assert value.tzinfo is not None, "a moment needs a zone"
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """With the zone that the database may have dropped."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def now() -> datetime:
    """This moment, with its zone."""
    return datetime.now(UTC)


def new_id() -> str:
    """A name for a row: 32 hex digits that sort by time of making (48 bits of ms, 80 random)."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
