"""Resumable uploads on disk: what has arrived survives the death of the process.

An upload is `uploads/<id>.tus`, the bytes, and beside it `<id>.json`, its `Ticket`. The offset is
the size of the file. Who writes holds a lock on the file; who only asks does not.
"""

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from service.contract.record import Record, Sha256
from service.intake.errors import (
    SlideTooLarge,
    TooManyUnfinished,
    UnsupportedUpload,
    UploadExpired,
    UploadLocked,
    UploadNotFound,
    UploadUnfinished,
)
from service.intake.limits import IntakeLimits
from service.intake.partial import open_locked
from service.intake.signature import HEAD_BYTES
from service.intake.sniff import check_upload
from service.intake.storage import (
    check_space,
    place_slide,
    storage_errors,
    sync_directory,
    touch_slide,
)
from service.layout import DataRoot

BYTES: Final = ".tus"
TICKET: Final = ".json"
_NEW: Final = ".new"
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Ticket(Record):
    """What is known of an upload besides its bytes."""

    owner: str = Field(description="Who may go on with it.")
    length: int = Field(ge=0, description="Bytes when it is complete.")
    metadata: str = Field(default="", description="The header Upload-Metadata as it was sent.")
    unverified_from: int | None = Field(
        default=None, description="From here on bytes wait for the check of their sum."
    )
    sha256: Sha256 | None = Field(default=None, description="Of the bytes, once complete.")


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    """An upload whose bytes are a stored slide.

    Attributes:
        sha256: of the bytes, hex.
        size_bytes: of the slide.
    """

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UploadState:
    """Where an upload stands.

    Attributes:
        ticket: as stored.
        offset: bytes that have arrived.
        expires_at: Unix time; later with every byte.
    """

    ticket: Ticket
    offset: int
    expires_at: float


class ResumableUploads:
    """The uploads of a data directory. Blocking; every process has its own.

    Args:
        root: whose directories exist.
        limits: that hold for each.
    """

    def __init__(self, root: DataRoot, limits: IntakeLimits) -> None:
        self.root = root
        self.limits = limits

    def create(self, owner: str, length: int, metadata: str = "") -> str:
        """Begin one.

        Args:
            owner: who may go on with it.
            length: bytes it will have.
            metadata: kept and told again.

        Returns:
            Its id, which cannot be guessed.

        Raises:
            SlideTooLarge: longer than the limit.
            UnsupportedUpload: `length` is 0.
            TooManyUnfinished: the owner has as many unfinished ones as allowed.
            StorageFull: there is no room for it.
        """
        if length > self.limits.max_slide_bytes:
            raise SlideTooLarge(length, self.limits.max_slide_bytes)
        if length == 0:
            check_upload(b"")
        if self._count_unfinished(owner) >= self.limits.max_unfinished:
            raise TooManyUnfinished(self.limits.max_unfinished)
        check_space(self.root.uploads, self.limits.min_free_bytes, length)
        upload_id = secrets.token_hex(16)
        with storage_errors(self.limits.min_free_bytes):
            self._write(upload_id, Ticket(owner=owner, length=length, metadata=metadata))
            os.close(open_locked(self._bytes(upload_id), os.O_CREAT | os.O_EXCL))
            sync_directory(self.root.uploads)
        return upload_id

    def look_up(self, upload_id: str, owner: str) -> UploadState:
        """Where one stands.

        Raises:
            UploadNotFound: no upload of this owner has the id.
            UploadExpired: it lay too long.
        """
        path = self._bytes(upload_id)
        ticket, told_at = self._read(upload_id)
        if ticket.owner != owner:
            raise UploadNotFound
        try:
            state = path.stat()
            offset, told_at = state.st_size, max(told_at, state.st_mtime)
        except FileNotFoundError:
            ticket, told_at = self._read(upload_id)  # it may have been finished just now
            if ticket.sha256 is None:
                raise UploadNotFound from None
            offset = ticket.length
        if ticket.unverified_from is not None:
            offset = min(offset, ticket.unverified_from)
        expires_at = told_at + self.limits.expires_s
        if time.time() >= expires_at:
            raise UploadExpired
        return UploadState(ticket, offset, expires_at)

    @contextmanager
    def write(self, upload_id: str, owner: str) -> Iterator[tuple[int, UploadState]]:
        """Alone at an upload that is not finished: a locked descriptor and where it stands.

        Bytes that a killed process left unverified are cut off first.

        Raises:
            UploadNotFound, UploadExpired: as `look_up`.
            UploadLocked: somebody else writes to it.
        """
        self.look_up(upload_id, owner)
        try:
            descriptor = open_locked(self._bytes(upload_id))
        except BlockingIOError as err:
            raise UploadLocked from err
        except FileNotFoundError as err:
            raise UploadLocked from err  # finished or removed in this moment: ask anew
        try:
            state = self.look_up(upload_id, owner)
            if state.ticket.unverified_from is not None:
                os.ftruncate(descriptor, state.offset)
                self.mark(upload_id, state.ticket, unverified_from=None)
            os.lseek(descriptor, state.offset, os.SEEK_SET)
            yield descriptor, state
        finally:
            os.close(descriptor)

    def mark(self, upload_id: str, ticket: Ticket, *, unverified_from: int | None) -> None:
        """Remember, while the lock is held, that bytes from here on wait for their check."""
        with storage_errors(self.limits.min_free_bytes):
            self._write(upload_id, ticket.model_copy(update={"unverified_from": unverified_from}))

    def judge(self, upload_id: str, descriptor: int) -> None:
        """Refuse what cannot be a slide, while the lock is held.

        Raises:
            UnsupportedUpload: by its first bytes; the upload is removed.
        """
        try:
            check_upload(os.pread(descriptor, HEAD_BYTES, 0))
        except UnsupportedUpload:
            self._remove(upload_id)
            raise

    def finish(
        self, upload_id: str, ticket: Ticket, descriptor: int, sha256: str | None
    ) -> FinishedUpload:
        """Move the complete bytes into the store, while the lock is held.

        Args:
            upload_id: whose.
            ticket: as stored.
            descriptor: of the locked file.
            sha256: of the bytes; None: read them again.

        Raises:
            UnsupportedUpload: they are not a slide; the upload is removed.
            StorageFull: they cannot be kept now.
        """
        self.judge(upload_id, descriptor)
        if sha256 is None:
            os.lseek(descriptor, 0, os.SEEK_SET)
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        with storage_errors(self.limits.min_free_bytes):
            os.fsync(descriptor)
            # The ticket first: a process killed in between finds the bytes under either name.
            self._write(upload_id, ticket.model_copy(update={"sha256": sha256}))
            place_slide(self.root, self._bytes(upload_id), sha256)
        return FinishedUpload(sha256, ticket.length)

    def find_upload(self, upload_id: str, owner: str) -> FinishedUpload:
        """The slide that an upload became, finishing what a killed process did not.

        Raises:
            UploadNotFound, UploadExpired, UploadLocked: as `write`.
            UploadUnfinished: not all bytes have arrived.
            UnsupportedUpload, StorageFull: as `finish`.
        """
        state = self.look_up(upload_id, owner)
        ticket = state.ticket
        if ticket.sha256 is not None and not self._bytes(upload_id).exists():
            if not touch_slide(self.root, ticket.sha256):
                raise UploadNotFound  # the slide was removed since
            return FinishedUpload(ticket.sha256, ticket.length)
        if state.offset < ticket.length:
            raise UploadUnfinished(state.offset, ticket.length)
        with self.write(upload_id, owner) as (descriptor, state):
            return self.finish(upload_id, state.ticket, descriptor, state.ticket.sha256)

    def remove(self, upload_id: str, owner: str) -> None:
        """Forget an upload; a slide that it became stays.

        Raises:
            UploadNotFound, UploadExpired, UploadLocked: as `write`.
        """
        state = self.look_up(upload_id, owner)
        if state.ticket.sha256 is not None and not self._bytes(upload_id).exists():
            self._remove(upload_id)
            return
        with self.write(upload_id, owner):
            self._remove(upload_id)

    def _count_unfinished(self, owner: str) -> int:
        """Uploads that still have bytes of their own; processes may exceed a limit by a few."""
        count = 0
        for path in self.root.uploads.glob(f"*{BYTES}"):
            with contextlib.suppress(UploadNotFound, UploadExpired):
                self.look_up(path.stem, owner)
                count += 1
        return count

    def _remove(self, upload_id: str) -> None:
        self._bytes(upload_id).unlink(missing_ok=True)
        self._ticket(upload_id).unlink(missing_ok=True)

    def remove_expired(self) -> int:
        """Remove uploads that lay too long; never one that is being written.

        Returns:
            How many files were removed.
        """
        removed = 0
        for path in self.root.uploads.iterdir():
            if path.suffix not in (BYTES, TICKET, _NEW):
                continue
            with contextlib.suppress(FileNotFoundError, BlockingIOError), ExitStack() as held:
                if (lock := path.with_suffix(BYTES)).exists():
                    held.callback(os.close, open_locked(lock))
                if time.time() - self._touched(path) >= self.limits.expires_s:
                    path.unlink()
                    removed += 1
        return removed

    def _touched(self, path: Path) -> float:
        """When any file of an upload changed last, Unix time."""
        times = [path.stat().st_mtime]
        for suffix in (BYTES, TICKET):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.with_suffix(suffix).stat().st_mtime)
        return max(times)

    def _bytes(self, upload_id: str) -> Path:
        return self.root.uploads / f"{_checked(upload_id)}{BYTES}"

    def _ticket(self, upload_id: str) -> Path:
        return self.root.uploads / f"{_checked(upload_id)}{TICKET}"

    def _read(self, upload_id: str) -> tuple[Ticket, float]:
        """A ticket and when it was written, Unix time."""
        try:
            with self._ticket(upload_id).open("rb") as stream:
                ticket = Ticket.model_validate_json(stream.read())
                return ticket, os.fstat(stream.fileno()).st_mtime
        except (FileNotFoundError, ValidationError) as err:
            raise UploadNotFound from err

    def _write(self, upload_id: str, ticket: Ticket) -> None:
        path = self._ticket(upload_id)
        new = path.with_suffix(_NEW)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(ticket.model_dump_json().encode())
            stream.flush()
            os.fsync(descriptor)
        new.replace(path)
        sync_directory(path.parent)


def _checked(upload_id: str) -> str:
    if _ID.fullmatch(upload_id) is None:
        raise UploadNotFound
    return upload_id
