"""A request becomes a scan, or finds the one there is: decided in one transaction."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from service.contract.scan import Priority, Scan, ScanParameters, ScanState
from service.contract.submission import ScanMetadata
from service.store.columns import new_id, now
from service.store.scan_rows import OPEN, StoreError, as_scan
from service.store.tables import IdempotencyRow, ScanRow, SlideRow


class IdempotencyMismatch(StoreError):
    """An `Idempotency-Key` was used before for another request."""


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
class NewScan:
    """What is asked for.

    Attributes:
        slide: at hand.
        metadata: as sent.
        submitted_by: id of the caller's API key.
        model_sha256: of the weights that would be used now; "" while none are known.
        request: the client's name for the request, or None.
        batch_id: the batch it belongs to, or None.
    """

    slide: SlideSource
    metadata: ScanMetadata
    submitted_by: str
    model_sha256: str
    request: ClientRequest | None = None
    batch_id: str | None = None

    @property
    def dedupe_keys(self) -> tuple[str, str]:
        """What the scan may be found by: as anybody's, and as that of these labels alone."""
        key = dedupe_key(self.slide, self.model_sha256, self.metadata.analysis)
        labels = json.dumps([self.metadata.accession, self.metadata.specimen])
        return key, hashlib.sha256(f"{key}\n{labels}".encode()).hexdigest()


def dedupe_key(slide: SlideSource, model_sha256: str, parameters: ScanParameters) -> str:
    """Equal for scans that must give the same result, hex."""
    asked = parameters.model_dump_json(exclude={"model"})
    return hashlib.sha256(f"{slide.identity}\n{model_sha256}\n{asked}".encode()).hexdigest()


def create_scan(connection: Connection, new: NewScan) -> Created:
    """A queued scan, or the one that exists for the same slide, model and parameters.

    Raises:
        IdempotencyMismatch: the client used its key for another request.
        IntegrityError: another process made the scan between our look and our insert.
    """
    repeated = _find_request(connection, new)
    if repeated is not None:
        return Created(read_scan(connection, repeated), fresh=False)
    found, key = _find_equal(connection, new)
    if found is not None and new.metadata.force:
        connection.execute(update(ScanRow).where(ScanRow.id == found.id).values(dedupe_key=None))
        found = None
    if found is None:
        scan = _insert(connection, new, key)
    else:
        scan = _join(connection, found, new.metadata)
    if new.request is not None:
        connection.execute(
            insert(IdempotencyRow).values(
                api_key_id=new.submitted_by,
                key=new.request.key,
                fingerprint=new.request.fingerprint,
                scan_id=scan.scan_id,
                created_at=now(),
            )
        )
    return Created(scan, fresh=found is None)


def read_scan(connection: Connection, scan_id: str) -> Scan:
    """A scan that is there."""
    return as_scan(connection.execute(select(ScanRow.__table__).where(ScanRow.id == scan_id)).one())


def _find_request(connection: Connection, new: NewScan) -> str | None:
    """The scan that the same request of the same client made before."""
    if new.request is None:
        return None
    earlier = connection.execute(
        select(IdempotencyRow.fingerprint, IdempotencyRow.scan_id).where(
            IdempotencyRow.api_key_id == new.submitted_by, IdempotencyRow.key == new.request.key
        )
    ).first()
    if earlier is None:
        return None
    if earlier.fingerprint != new.request.fingerprint:
        raise IdempotencyMismatch(new.request.key)
    scan_id: str = earlier.scan_id
    return scan_id


def _find_equal(connection: Connection, new: NewScan) -> tuple[Row[Any] | None, str]:
    """The scan that answers the request, if there is one, and the key that it has or would have.

    A scan that the laboratory calls otherwise answers nothing: its reports would name another
    order or smear.
    """
    common, own = new.dedupe_keys
    rows = connection.execute(
        select(ScanRow.__table__).where(ScanRow.dedupe_key.in_((common, own)))
    ).all()
    by_key = {row.dedupe_key: row for row in rows}
    if own in by_key:
        return by_key[own], own
    found = by_key.get(common)
    if found is None or _may_share(found, new.metadata):
        return found, common
    return None, own


def _may_share(found: Row[Any], metadata: ScanMetadata) -> bool:
    """Whether neither of two requests gives a label that the other contradicts."""
    return all(
        None in pair or pair[0] == pair[1]
        for pair in (
            (found.accession, metadata.accession),
            (found.specimen, metadata.specimen),
        )
    )


def _join(connection: Connection, found: Row[Any], metadata: ScanMetadata) -> Scan:
    """A scan that somebody else asked for already, as soon as either of the two wants it.

    One that waits behind an archive comes forward, one that nobody is told of tells this caller,
    one without labels gets these.
    """
    values: dict[str, Any] = {
        name: getattr(metadata, name)
        for name in ("accession", "specimen")
        if getattr(found, name) is None and getattr(metadata, name) is not None
    }
    waits = found.state == ScanState.QUEUED and found.queue == Priority.ARCHIVE
    if waits and metadata.priority is Priority.INTERACTIVE:
        values |= {"queue": Priority.INTERACTIVE, "enqueued_at": None, "not_before": now()}
    if found.state in OPEN and found.callback_url is None and metadata.callback_url is not None:
        values["callback_url"] = str(metadata.callback_url)
    if values:
        connection.execute(update(ScanRow).where(ScanRow.id == found.id).values(**values))
    return read_scan(connection, found.id)


def _insert(connection: Connection, new: NewScan, key: str) -> Scan:
    moment, slide, metadata = now(), new.slide, new.metadata
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
            model_sha256=new.model_sha256,
            dedupe_key=key,
            accession=metadata.accession,
            specimen=metadata.specimen,
            callback_url=None if metadata.callback_url is None else str(metadata.callback_url),
            batch_id=new.batch_id,
            submitted_by=new.submitted_by,
            submitted_at=moment,
        )
    )
    return read_scan(connection, scan_id)


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
