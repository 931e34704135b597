"""What the reconciler does for batches, again and again: find slides, feed scans, settle accounts.

At most `archive_ahead` scans of batches wait or run at a time; each batch that has slides left gets
an equal part of them. They stand in the archive queue, which workers look at when no interactive
scan waits. Nothing here is remembered between rounds but where a listing stands, and that only
saves work.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Row

from service.batches.ending import stop
from service.batches.listing import Listing
from service.batches.places import SlidePlaces
from service.batches.slides import find_slide
from service.contract.batch import BatchSources, BatchState
from service.contract.scan import ScanParameters
from service.installation import Installation
from service.intake.errors import ObjectStoreUnavailable
from service.store.models import UnknownModel

LIST_S: Final = 1.0
FEED_S: Final = 1.0
"""Time a round may spend on finding slides and on feeding scans, s: dispatching waits meanwhile."""
FEED_SLICE: Final = 50
"""Slides asked for in one transaction: others wait for it on SQLite."""

_log = structlog.get_logger(__name__)


class BatchFeeder:
    """Moves the batches of an installation on. One at a time; two at once do no harm."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._places = SlidePlaces.of(installation.settings)
        self._listings: dict[str, Listing] = {}
        self._turn = 0

    def run_once(self) -> None:
        """One round. Does not need the queue's server."""
        batches = self._installation.batches.unfinished()
        for batch in batches:
            if batch.state == BatchState.CANCELLED:
                stop(self._installation, batch.id)
            else:
                self._installation.batch_items.settle(batch.id)
        self._feed([b for b in batches if b.state in {BatchState.LISTING, BatchState.RUNNING}])
        self._list([batch for batch in batches if batch.state == BatchState.LISTING])
        self._installation.batches.finish()

    def _list(self, batches: Sequence[Row[Any]]) -> None:
        """Add slides to batches that do not have all of theirs, in turn."""
        self._listings = {
            batch.id: self._listings.get(batch.id)
            or Listing(self._places, BatchSources.model_validate(batch.sources))
            for batch in batches
        }
        until = time.monotonic() + LIST_S
        while self._listings and time.monotonic() < until:
            for batch_id in list(self._listings):
                if not self._list_part(batch_id, until):
                    del self._listings[batch_id]

    def _list_part(self, batch_id: str, until: float) -> bool:
        """Whether there is more to list."""
        installation, listing = self._installation, self._listings[batch_id]
        part = listing.next_part(until)
        if part.items and installation.batch_items.add(batch_id, part.items) is None:
            return False
        if part.is_last:
            installation.batches.end_listing(batch_id, passed_over=listing.passed_over)
            _log.info("batch listed", batch_id=batch_id, passed_over=listing.passed_over)
        return not part.is_last

    def _feed(self, batches: Sequence[Row[Any]]) -> None:
        """Ask for scans of batches in turn, up to each one's part of the room."""
        installation = self._installation
        hungry = {
            batch.id: sha256 for batch in batches if (sha256 := self._find_model(batch)) is not None
        }
        by_id = {batch.id: batch for batch in batches}
        opened = dict(installation.batch_items.open_scans())
        until = time.monotonic() + FEED_S
        while hungry and time.monotonic() < until:
            room = installation.settings.archive_ahead - sum(opened.values())
            if room <= 0:
                return
            part = -(-installation.settings.archive_ahead // len(hungry))
            self._turn += 1
            names = list(hungry)
            full = 0
            for offset in range(len(names)):
                name = names[(self._turn + offset) % len(names)]
                room = installation.settings.archive_ahead - sum(opened.values())
                limit = min(room, part - opened.get(name, 0), FEED_SLICE)
                if limit <= 0:
                    full += 1
                    continue
                made = self._feed_slice(by_id[name], hungry[name], limit)
                if made is None:
                    del hungry[name]
                else:
                    opened[name] = opened.get(name, 0) + made
            if full == len(names):
                return

    def _feed_slice(self, batch: Row[Any], model_sha256: str, limit: int) -> int | None:
        """Ask for some scans; how many are new, or None if the batch has nothing to ask for."""
        items = self._installation.batch_items
        pending = items.pending(batch.id, limit)
        if not pending:
            return None
        settings = self._installation.settings
        try:
            slides = [(item, find_slide(item.slide_uri, settings)) for item in pending]
        except ObjectStoreUnavailable as err:
            _log.warning("batch waits for the object store", batch_id=batch.id, reason=str(err))
            return None
        submitted = items.submit(batch.id, slides, model_sha256=model_sha256)
        return None if submitted is None else submitted.new_scans

    def _find_model(self, batch: Row[Any]) -> str | None:
        """Hash of the weights a batch is scanned with; None while it cannot be scanned."""
        installation = self._installation
        name = ScanParameters.model_validate(batch.parameters).model
        try:
            sha256 = installation.models.sha256_of(name or installation.settings.model)
        except UnknownModel as err:
            _log.warning("batch paused", batch_id=batch.id, reason=str(err))
            installation.batches.pause(batch.id, f"{err}: serve it again, then resume")
            return None
        return sha256 or None
