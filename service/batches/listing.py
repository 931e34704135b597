"""The slides of a batch, found a part at a time.

Listing may be broken off anywhere and begun again: order and names are the same, and the store adds
no slide twice.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from service.batches.manifest import ManifestInvalid, read_manifest
from service.batches.patterns import Pattern
from service.batches.places import SlidePlaces, SourceRefused, unreadable
from service.batches.walk import Walk
from service.contract.batch import BatchSources
from service.store.batch_items import SLICE, NewItem

BREATH: Final = 256
"""The clock is looked at after so many entries."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a batch's slides.

    Attributes:
        items: at most `SLICE`.
        is_last: there are no more.
    """

    items: list[NewItem]
    is_last: bool


@dataclass(slots=True)
class Listing:
    """A batch's sources being gone through."""

    places: SlidePlaces
    sources: BatchSources
    _walks: list[Walk] = field(default_factory=list)
    _entries: Iterator[NewItem | None] | None = None

    @property
    def passed_over(self) -> int:
        """Files and directories so far that are no slides by their names."""
        return sum(walk.passed_over for walk in self._walks)

    def next_part(self, until: float) -> Part:
        """The slides that follow.

        Args:
            until: when to stop although there is room for more, `time.monotonic`.
        """
        if self._entries is None:
            self._entries = self._find()
        items: list[NewItem] = []
        for number, entry in enumerate(self._entries, 1):
            if entry is not None:
                items.append(entry)
            if len(items) == SLICE or (number % BREATH == 0 and time.monotonic() >= until):
                return Part(items, is_last=False)
        return Part(items, is_last=True)

    def _find(self) -> Iterator[NewItem | None]:
        for root in self.sources.roots:
            yield from self._walk(root, root, Walk(self.places))
        for glob in self.sources.globs:
            pattern = Pattern.parse(glob)
            walk = Walk(self.places, keep=pattern.matches, enter=pattern.may_enter)
            yield from self._walk(glob, pattern.base, walk)
        if self.sources.manifest_uri is not None:
            yield from self._read(self.sources.manifest_uri)

    def _walk(self, source: str, top: str, walk: Walk) -> Iterator[NewItem | None]:
        self._walks.append(walk)
        try:
            directory = self.places.locate_directory(top)
        except SourceRefused as err:
            yield NewItem(source, failure=unreadable(f"nothing was looked for there: {err}"))
            return
        yield from walk.slides(directory)

    def _read(self, uri: str) -> Iterator[NewItem]:
        try:
            with self.places.locate_file(uri).open(encoding="utf-8-sig", newline="") as lines:
                yield from read_manifest(lines)
        except (SourceRefused, ManifestInvalid) as err:
            yield NewItem(uri, failure=unreadable(f"the manifest cannot be used: {err}"))
        except OSError as err:
            reason = f"the manifest cannot be read ({err.strerror}): check its access rights"
            yield NewItem(uri, failure=unreadable(reason))
