"""What is kept, for how long, and how it goes: results, originals, what crashes left behind."""

import shutil
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Row, delete, exists, func, or_, select, update

from service.contract.scan import ScanState
from service.installation import Installation
from service.intake.limits import IntakeLimits
from service.intake.objects import S3
from service.intake.partial import remove_stale_partials
from service.intake.resumable import ResumableUploads
from service.intake.storage import remove_slide
from service.slides import is_stored
from service.store.audit import Action
from service.store.columns import now
from service.store.deliveries import WAITING
from service.store.engine import writing
from service.store.scan_rows import OPEN, ScanMissing, ScanNotOver
from service.store.tables import DeliveryRow, IdempotencyRow, ScanRow, SlideRow

ORPHAN_AGE_S: Final = 86_400
"""Results without a row are left alone for a day: their row may be about to be written."""
REQUESTS_KEPT: Final = timedelta(days=7)
"""How long an `Idempotency-Key` finds its scan."""
SLICE: Final = 1000
"""Rows looked at in a round."""

_log = structlog.get_logger(__name__)


def purge_scan(installation: Installation, scan_id: str, *, actor: str, action: Action) -> None:
    """Remove a scan that is over: its results, its row, and its slide if no other scan has it.

    Files go first: a crash in between leaves a scan without files, which can be purged again.

    Raises:
        ScanMissing: there is none of that name.
        ScanNotOver: it waits or runs.
    """
    row = installation.scans.row(scan_id)
    if row.state in OPEN:
        raise ScanNotOver(scan_id)
    shutil.rmtree(installation.layout.results / scan_id, ignore_errors=True)
    installation.scans.purge(scan_id)
    if is_stored(row):
        _remove_unwanted_slide(installation, row.slide_sha256)
    installation.audit.note(
        actor, action, scan_id=scan_id, detail={"slide_sha256": row.slide_sha256}
    )


class Retention:
    """Keeps an installation's disk as its settings say."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def run_once(self) -> None:
        """Remove what is due."""
        self.expire_requests()
        self.expire_scans()
        self.expire_batches()
        self.expire_deliveries()
        self.expire_originals()
        self.sweep_orphans()

    def expire_requests(self) -> int:
        """Forget clients' names for requests that nobody will send again; how many."""
        with writing(self._installation.engine) as connection:
            expired = connection.execute(
                delete(IdempotencyRow).where(IdempotencyRow.created_at < now() - REQUESTS_KEPT)
            )
        return int(expired.rowcount)

    def expire_scans(self) -> int:
        """Purge scans whose results were kept long enough; how many."""
        before = self._results_due()
        query = select(ScanRow.id).where(ScanRow.finished_at < before).limit(SLICE)
        with self._installation.engine.connect() as connection:
            due = connection.execute(query).scalars().all()
        for scan_id in due:
            with suppress(ScanMissing):  # somebody purged it just now
                purge_scan(self._installation, scan_id, actor="system", action=Action.EXPIRED)
        return len(due)

    def expire_batches(self) -> int:
        """Forget batches and their lists of slides as long after their end as scans; how many."""
        forgotten = self._installation.batches.forget(finished_before=self._results_due())
        for batch_id in forgotten:
            self._installation.audit.note("system", Action.EXPIRED, detail={"batch_id": batch_id})
        return len(forgotten)

    def expire_deliveries(self) -> int:
        """Forget webhooks that are over as long after their scan's end as scans; how many."""
        with writing(self._installation.engine) as connection:
            expired = connection.execute(
                delete(DeliveryRow).where(
                    DeliveryRow.state != WAITING, DeliveryRow.created_at < self._results_due()
                )
            )
        return int(expired.rowcount)

    def expire_originals(self) -> int:
        """Remove uploaded slides whose last scan ended long enough ago; how many.

        One that was uploaded again meanwhile is left for its new scan as long as any upload is.
        """
        before = now() - timedelta(days=self._installation.settings.keep_originals_days)
        wanted = exists().where(
            ScanRow.slide_sha256 == SlideRow.sha256,
            _reads_the_store(),
            (ScanRow.finished_at.is_(None)) | (ScanRow.finished_at >= before),
        )
        query = (
            select(SlideRow.sha256)
            .where(SlideRow.purged_at.is_(None), SlideRow.stored_at < before, ~wanted)
            .limit(SLICE)
        )
        with self._installation.engine.connect() as connection:
            due = connection.execute(query).scalars().all()
        untouched_s = IntakeLimits.of(self._installation.settings).expires_s
        return sum(_remove_slide(self._installation, sha256, untouched_s) for sha256 in due)

    def sweep_orphans(self) -> int:
        """Remove files that no row knows, a day after they were last touched; how many.

        A slide is left alone as long as a resumable upload is: it may have arrived, and not have
        been named in a scan yet.
        """
        layout, settings = self._installation.layout, self._installation.settings
        limits = IntakeLimits.of(settings)
        remove_stale_partials(layout, ORPHAN_AGE_S)
        ResumableUploads(layout, limits).remove_expired()
        removed = 0
        for directory in _old(layout.results):
            row = self._installation.scans.find_row(directory.name)
            kept = set() if row is None else _attempts_kept(row)
            for attempt in _old(directory):
                if attempt.name not in kept:
                    _remove(attempt)
                    removed += 1
            if row is None:
                shutil.rmtree(directory, ignore_errors=True)
        for shelf in layout.slides.iterdir() if layout.slides.is_dir() else ():
            for path in _old(shelf):
                if not self._knows_slide(path.name):
                    removed += remove_slide(
                        layout, path.name, untouched_s=ORPHAN_AGE_S + limits.expires_s
                    )
        if removed:
            _log.info("orphans removed", files=removed)
        return removed

    def _results_due(self) -> datetime:
        """What ended before is not kept."""
        return now() - timedelta(days=self._installation.settings.keep_results_days)

    def _knows_slide(self, sha256: str) -> bool:
        query = select(func.count()).where(SlideRow.sha256 == sha256, SlideRow.purged_at.is_(None))
        with self._installation.engine.connect() as connection:
            return connection.execute(query).scalar_one() > 0


def _attempts_kept(row: Row[Any]) -> set[str]:
    """Names of the result directories that are, or may become, a scan's result."""
    if row.state == ScanState.SUCCEEDED:
        return {str(row.result_attempt)}
    return {str(row.attempt)} if row.state in OPEN else set()


def _remove_unwanted_slide(installation: Installation, sha256: str | None) -> None:
    if sha256 is None:
        return
    query = select(func.count()).where(ScanRow.slide_sha256 == sha256, _reads_the_store())
    with installation.engine.connect() as connection:
        others = connection.execute(query).scalar_one()
    if not others:
        _remove_slide(installation, sha256, untouched_s=0)


def _reads_the_store() -> ColumnElement[bool]:
    """Scans of uploaded slides and of objects, which are fetched; not of files left in place."""
    return or_(ScanRow.slide_uri.is_(None), ScanRow.slide_uri.startswith(S3, autoescape=True))


def _remove_slide(installation: Installation, sha256: str, untouched_s: float) -> bool:
    """Remove stored bytes unless an open scan wants them, or they came less than so long ago.

    The slide's row is locked meanwhile, as it is while a scan of it is made: either that scan is
    seen here, or it finds the slide gone and says so.
    """
    with writing(installation.engine) as connection:
        connection.execute(
            select(SlideRow.sha256).where(SlideRow.sha256 == sha256).with_for_update()
        )
        open_scans = connection.execute(
            select(func.count()).where(
                ScanRow.slide_sha256 == sha256, ScanRow.state.in_(OPEN), _reads_the_store()
            )
        ).scalar_one()
        if open_scans:
            return False
        path = installation.layout.slide_of(sha256)
        removed = remove_slide(installation.layout, sha256, untouched_s=untouched_s)
        if path.exists():  # it came again a moment ago
            return False
        connection.execute(
            update(SlideRow).where(SlideRow.sha256 == sha256).values(purged_at=now())
        )
    return removed


def _old(directory: Path) -> list[Path]:
    """What lies in a directory untouched for a day."""
    if not directory.is_dir():
        return []
    before = time.time() - ORPHAN_AGE_S
    old = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # a writer moved it on
            if path.stat().st_mtime < before:
                old.append(path)
    return old


def _remove(path: Path) -> None:
    """Remove a result's directory, or the file of patches that a killed process left."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
