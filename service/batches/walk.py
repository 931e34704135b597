"""Slides in and below a directory, one after another, in an order that is the same each time."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.batches.patterns import Parts
from service.batches.places import SlidePlaces, unreadable
from service.store.batch_items import NewItem

SLIDE_SUFFIXES: Final = (
    *(".svs", ".tif", ".tiff", ".btf", ".tf2", ".tf8", ".qptiff", ".ndpi", ".scn", ".bif"),
    *(".mrxs", ".vms", ".vmu", ".svslide", ".dcm", ".czi", ".vsi", ".isyntax"),
)
"""Main files of scanners' formats, lower case. Also of some that cannot be read here: such a slide
fails and is named, instead of not being noticed."""


@dataclass(slots=True)
class Walk:
    """One source of a batch being gone through.

    A directory is entered once however many links lead to it, so that loops end; memory grows with
    the number of directories and with the largest of them, not with the slides.

    Attributes:
        places: where slides may be.
        keep: whether a file counts, by its names below the top.
        enter: whether to look into a directory, likewise.
        passed_over: files and directories so far that are hidden or no slides by their names.
    """

    places: SlidePlaces
    keep: Callable[[Parts], bool] = lambda _: True
    enter: Callable[[Parts], bool] = lambda _: True
    passed_over: int = 0
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def slides(self, top: Path) -> Iterator[NewItem | None]:
        """Slides, and what cannot be looked at as failed ones; None now and then, as a breath.

        Args:
            top: without links in its path.
        """
        waiting: list[tuple[Path, Parts]] = [(top, ())]
        while waiting:
            directory, below = waiting.pop()
            try:
                state = directory.stat()
                if (state.st_dev, state.st_ino) in self._entered:
                    continue
                self._entered.add((state.st_dev, state.st_ino))
                with os.scandir(directory) as entries:
                    names = [(entry.name, entry.is_symlink(), _is_dir(entry)) for entry in entries]
            except OSError as err:
                reason = f"the directory cannot be read ({err.strerror}): check its access rights"
                yield _failed(directory, reason)
                continue
            names.sort()
            inner: list[tuple[Path, Parts]] = []
            for name, is_link, is_directory in names:
                path, parts = directory / name, (*below, name)
                if not self._counts(name, parts, is_directory=is_directory):
                    yield None
                    continue
                if is_link:
                    path = Path(os.path.realpath(path))
                    if not self.places.contains(path):
                        yield _failed(directory / name, "the link leads out of the slide roots")
                        continue
                if is_directory:
                    inner.append((path, parts))
                else:
                    yield as_item(path)
            waiting.extend(reversed(inner))
            yield None

    def _counts(self, name: str, parts: Parts, *, is_directory: bool) -> bool:
        hidden = name.startswith((".", "~"))
        if is_directory:
            if not self.enter(parts):
                return False
            wanted = not hidden
        else:
            if not self.keep(parts):
                return False
            wanted = not hidden and name.lower().endswith(SLIDE_SUFFIXES)
        self.passed_over += not wanted
        return wanted


def as_item(path: Path) -> NewItem:
    """A slide that was found."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return _failed(path, "the path is not UTF-8: rename what is not")
    return NewItem(str(path))


def _failed(path: Path, reason: str) -> NewItem:
    shown = os.fsencode(path).decode(errors="backslashreplace")
    return NewItem(shown, failure=unreadable(reason))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False
