"""What is stored, table by table. Changed only together with a migration."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.store.columns import Json, UtcDateTime

SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up; SQLite does so for its own INTEGER alone."""


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's name for a class-wide table
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
    }


class SlideRow(Base):
    """A slide that was taken in; its bytes lie under its hash until they are purged."""

    __tablename__ = "slides"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str] = mapped_column(String(40))
    stored_at: Mapped[datetime]
    purged_at: Mapped[datetime | None]


class ScanRow(Base):
    """One analysis of one slide.

    `attempt` counts every time the scan was given to a worker and fences what an earlier worker
    still writes; `tries` counts those that failed.
    """

    __tablename__ = "scans"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=1)
    tries: Mapped[int] = mapped_column(default=0)
    queue: Mapped[str] = mapped_column(String(16))
    not_before: Mapped[datetime]
    enqueued_at: Mapped[datetime | None]

    stage: Mapped[str | None] = mapped_column(String(16))
    done: Mapped[int | None] = mapped_column(BigInteger)
    total: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None] = mapped_column(String(120))
    seen_at: Mapped[datetime | None]
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure_message: Mapped[str | None] = mapped_column(Text)

    slide_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    slide_uri: Mapped[str | None] = mapped_column(Text)
    slide_bytes: Mapped[int] = mapped_column(BigInteger)
    parameters: Mapped[dict[str, Any]]
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    dedupe_key: Mapped[str | None] = mapped_column(String(64), unique=True)

    accession: Mapped[str | None] = mapped_column(String(128), index=True)
    specimen: Mapped[str | None] = mapped_column(String(128))
    callback_url: Mapped[str | None] = mapped_column(Text)
    batch_id: Mapped[str | None] = mapped_column(String(64), index=True)

    submitted_by: Mapped[str] = mapped_column(String(64))
    submitted_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    result_attempt: Mapped[int | None]
    summary: Mapped[dict[str, Any] | None]

    __table_args__ = (
        Index("ix_scans_state_queue_id", "state", "queue", "id"),
        Index("ix_scans_finished_at", "finished_at"),
    )


class IdempotencyRow(Base):
    """What a client's `Idempotency-Key` was used for."""

    __tablename__ = "idempotency_keys"

    api_key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    scan_id: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime]


class ModelRow(Base):
    """A classifier that a model process of this installation has loaded or can load."""

    __tablename__ = "served_models"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    version: Mapped[str] = mapped_column(String(40))
    sha256: Mapped[str] = mapped_column(String(64))
    is_default: Mapped[bool]
    seen_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A client's key: only the SHA-256 of its secret is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    roles: Mapped[list[Any]]
    rate_per_minute: Mapped[int | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditRow(Base):
    """Who did what, when. Rows are only added: triggers refuse everything else."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(40))
    scan_id: Mapped[str | None] = mapped_column(String(64), index=True)
    detail: Mapped[dict[str, Any] | None]


class ReviewRow(Base):
    """A person's label of a cell. The latest of a cell holds; earlier ones stay."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))
    cell_id: Mapped[int]
    label: Mapped[str] = mapped_column(String(16))
    comment: Mapped[str | None] = mapped_column(Text)
    reviewer: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    __table_args__ = (Index("ix_reviews_scan_cell", "scan_id", "cell_id", "id"),)


class BatchRow(Base):
    """An archive rescan: many slides with one set of parameters.

    `open_key` is equal for equal requests and set while the batch is unfinished: the database lets
    no second one begin. `listed` counts items, `listed_at` says that there will be no more.
    """

    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16), index=True)
    sources: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]]
    force: Mapped[bool]
    open_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    listed: Mapped[int] = mapped_column(default=0)
    listed_at: Mapped[datetime | None]
    passed_over: Mapped[int] = mapped_column(default=0)
    message: Mapped[str | None] = mapped_column(Text)
    submitted_by: Mapped[str] = mapped_column(String(64))
    submitted_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class BatchItemRow(Base):
    """One slide of a batch."""

    __tablename__ = "batch_items"

    batch_id: Mapped[str] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    slide_uri: Mapped[str] = mapped_column(Text)
    uri_sha256: Mapped[str] = mapped_column(String(64))
    um_per_px: Mapped[float | None] = mapped_column(Float)
    accession: Mapped[str | None] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    scan_id: Mapped[str | None] = mapped_column(String(64), index=True)
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure_message: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ix_batch_items_state", "batch_id", "state", "number"),
        Index("uq_batch_items_uri", "batch_id", "uri_sha256", unique=True),
    )


class DeliveryRow(Base):
    """A webhook that is to be sent, or was."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    scan_id: Mapped[str] = mapped_column(String(64), index=True)
    event: Mapped[str] = mapped_column(String(40))
    url: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_deliveries_state_next", "state", "next_at"),)
