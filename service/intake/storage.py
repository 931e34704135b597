"""The content-addressed store of slides: a file's name is the SHA-256 of its bytes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.contract.failure import NO_SPACE
from service.intake.errors import StorageFull
from service.layout import DataRoot


@dataclass(frozen=True, slots=True)
class StoredSlide:
    """A slide in the store.

    Attributes:
        path: of the file.
        sha256: of its bytes, hex.
        size_bytes: of the file.
        already_stored: the same bytes were there before.
    """

    path: Path
    sha256: str
    size_bytes: int
    already_stored: bool


@contextmanager
def storage_errors(limit: int) -> Iterator[None]:
    """Translate a full disk, quota or file-size limit.

    Args:
        limit: bytes that are kept free, for the message.

    Raises:
        StorageFull: for these; other errors pass.
    """
    try:
        yield
    except OSError as err:
        if err.errno in NO_SPACE:
            raise StorageFull(limit) from err
        raise


def check_space(directory: Path, min_free_bytes: int, wanted_bytes: int = 0) -> None:
    """Whether a file may grow.

    Args:
        directory: on the file system that is asked.
        min_free_bytes: that must stay free.
        wanted_bytes: that are about to be written.

    Raises:
        StorageFull: less than `min_free_bytes` would be left.
    """
    state = os.statvfs(directory)
    if state.f_bavail * state.f_frsize - wanted_bytes < min_free_bytes:
        raise StorageFull(min_free_bytes)


def sync_directory(directory: Path) -> None:
    """Make names in a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_slide(root: DataRoot, arrived: Path, sha256: str) -> StoredSlide:
    """Move a whole file, already synced, to where its content belongs.

    Identical content that is there is kept, with a new modification time, so that `remove_slide`
    sees it is wanted again.

    Args:
        root: of the store.
        arrived: on the same file system; gone afterwards.
        sha256: of its bytes, hex.
    """
    size = arrived.stat().st_size
    target = root.slide_of(sha256)
    if not target.parent.is_dir():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(root.slides)
    with _locked(target.parent):
        stored = target.is_file() and target.stat().st_size == size
        if stored:
            os.utime(target)
            arrived.unlink()
        else:
            arrived.replace(target)
            os.utime(target)
        sync_directory(target.parent)
    return StoredSlide(target, sha256, size, stored)


def remove_slide(root: DataRoot, sha256: str, *, untouched_s: float) -> bool:
    """Remove a stored slide unless it was placed, or placed again, a short while ago.

    Between an upload and its row in the database a slide has no owner; `untouched_s` must be longer
    than that takes. Placing and removing exclude each other, across processes.

    Returns:
        Whether it was removed.
    """
    target = root.slide_of(sha256)
    if not target.parent.is_dir():
        return False
    with _locked(target.parent):
        try:
            if time.time() - target.stat().st_mtime < untouched_s:
                return False
            target.unlink()
        except FileNotFoundError:
            return False
        return True


def touch_slide(root: DataRoot, sha256: str) -> bool:
    """Note that a stored slide is wanted, so that `remove_slide` spares it for a while.

    Returns:
        Whether it is there.
    """
    target = root.slide_of(sha256)
    if not target.parent.is_dir():
        return False
    with _locked(target.parent):
        try:
            os.utime(target)
        except FileNotFoundError:
            return False
        return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
