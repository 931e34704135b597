"""A slide that is still arriving."""

import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service.intake.errors import SlideTooLarge
from service.intake.limits import IntakeLimits
from service.intake.signature import HEAD_BYTES
from service.intake.sniff import check_upload
from service.intake.storage import StoredSlide, check_space, place_slide, storage_errors
from service.layout import DataRoot

SUFFIX: Final = ".partial"


class Partial:
    """A locked file in `uploads`, hashed while it grows.

    Methods may be called from any thread, one call at a time takes effect. After `keep` or
    `discard` nothing is left open, and nothing more is taken.

    Args:
        root: where it will be kept.
        limits: that hold for it.
    """

    def __init__(self, root: DataRoot, limits: IntakeLimits) -> None:
        self._root = root
        self._limits = limits
        self._turn = threading.Lock()
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self._judged = False
        self._next_check = limits.check_space_bytes
        self._path = root.uploads / f"{secrets.token_hex(16)}{SUFFIX}"
        self._file: int | None = None
        self._over = False
        self.size_bytes = 0

    def open(self, expected_bytes: int = 0) -> None:
        """Make the file.

        Args:
            expected_bytes: of the slide, 0 if unknown.

        Raises:
            StorageFull: there is no room for so many.
        """
        with self._turn:
            if self._over:
                return
            check_space(self._root.uploads, self._limits.min_free_bytes, expected_bytes)
            with storage_errors(self._limits.min_free_bytes):
                self._file = open_locked(self._path, os.O_CREAT | os.O_EXCL)

    def append(self, pieces: Sequence[memoryview]) -> None:
        """Write and hash what came.

        Raises:
            SlideTooLarge: more than the limit with it.
            StorageFull: there is no room.
            UnsupportedUpload: its beginning is not a slide's.
        """
        with self._turn:
            if self._over:
                return
            assert self._file is not None
            for piece in pieces:
                self.size_bytes += len(piece)
                if self.size_bytes > self._limits.max_slide_bytes:
                    raise SlideTooLarge(self.size_bytes, self._limits.max_slide_bytes)
                self._judge(piece)
                self._hash.update(piece)
                with storage_errors(self._limits.min_free_bytes):
                    write_all(self._file, piece)
            if self.size_bytes >= self._next_check:
                self._next_check = self.size_bytes + self._limits.check_space_bytes
                check_space(self._root.uploads, self._limits.min_free_bytes)

    def keep(self) -> StoredSlide:
        """Sync it and move it into the store.

        Raises:
            UnsupportedUpload: it is empty, or its beginning is not a slide's.
            StorageFull: the disk took the bytes but could not keep them.
        """
        with self._turn:
            assert self._file is not None
            if not self._judged:
                check_upload(bytes(self._head))
            with storage_errors(self._limits.min_free_bytes):
                os.fsync(self._file)
                stored = place_slide(self._root, self._path, self._hash.hexdigest())
            os.close(self._file)
            self._file = None
            self._over = True
            return stored

    def discard(self) -> None:
        """Leave nothing behind; does nothing once kept."""
        with self._turn:
            self._over = True
            if self._file is not None:
                self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = None

    def _judge(self, piece: memoryview) -> None:
        if not self._judged:
            self._head += piece[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                check_upload(bytes(self._head))
                self._judged = True


def open_locked(path: Path, flags: int = 0) -> int:
    """Open a file for reading and writing under an exclusive lock of all processes.

    Returns:
        A descriptor; closing it, or the death of the process, releases the lock.

    Raises:
        BlockingIOError: somebody else holds it.
        FileNotFoundError: there is none, or it was removed just now.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink == 0:
            raise FileNotFoundError(f"{path.name} was removed")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, piece: memoryview) -> None:
    """`os.write` until everything is written."""
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def remove_stale_partials(root: DataRoot, older_than_s: float) -> int:
    """Remove what processes that were killed left of uploads; never one that is being written.

    Args:
        root: of the uploads.
        older_than_s: since the last byte came.

    Returns:
        How many were removed.
    """
    removed = 0
    for path in root.uploads.glob(f"*{SUFFIX}"):
        try:
            descriptor = open_locked(path)
        except (BlockingIOError, FileNotFoundError):
            continue
        try:
            if time.time() - os.fstat(descriptor).st_mtime >= older_than_s:
                path.unlink(missing_ok=True)
                removed += 1
        finally:
            os.close(descriptor)
    return removed
