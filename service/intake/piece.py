"""One request's part of a resumable upload, written where the last one ended."""

import contextlib
import hashlib
import hmac
import os
import threading
from contextlib import ExitStack
from typing import Any

from service.intake.errors import ChecksumMismatch, MalformedUpload, OffsetMismatch, StorageFull
from service.intake.partial import write_all
from service.intake.resumable import FinishedUpload, ResumableUploads, UploadState
from service.intake.signature import HEAD_BYTES
from service.intake.storage import check_space, storage_errors
from service.intake.tus_headers import Checksum


class Piece:
    """Bytes from `offset` on; what has arrived stays when the rest does not, unless it is checked.

    Every method blocks, from any thread, one call at a time takes effect. Use `open`, `append` …,
    `finish`, and in any case `close`; after it nothing more is taken.

    Args:
        uploads: of the data directory.
        upload_id: whose piece it is.
        owner: who sends it.
        offset: where it begins, as the client says.
        expected_bytes: it has, None if unknown.
        checksum: of its bytes, None to take them unchecked. Then it counts whole or not at all.
    """

    def __init__(
        self,
        uploads: ResumableUploads,
        upload_id: str,
        owner: str,
        offset: int,
        expected_bytes: int | None,
        checksum: Checksum | None,
    ) -> None:
        self._uploads = uploads
        self._id = upload_id
        self._owner = owner
        self._begin = offset
        self._expected = expected_bytes
        self._checksum = checksum
        self._sum: Any = hashlib.new(checksum.algorithm) if checksum else None
        self._whole = hashlib.sha256() if offset == 0 else None
        self._turn = threading.Lock()
        self._over = False
        self._held = ExitStack()
        self._file = -1
        self._state: UploadState | None = None
        self._verified = False
        self._next_check = 0
        self.offset = offset

    def open(self) -> None:
        """Take the upload's lock and check where it stands.

        Raises:
            UploadNotFound, UploadExpired, UploadLocked: as `ResumableUploads.write`.
            OffsetMismatch: the upload does not end where this begins.
            MalformedUpload: the piece would exceed the upload's length.
            StorageFull: there is no room for it.
        """
        limits = self._uploads.limits
        with self._turn:
            if self._over:
                return
            self._check_offset(self._uploads.look_up(self._id, self._owner))
            self._file, state = self._held.enter_context(self._uploads.write(self._id, self._owner))
            self._check_offset(state)
            if self._expected is not None:
                self._check_length(state, self._begin + self._expected)
            check_space(self._uploads.root.uploads, limits.min_free_bytes, self._expected or 0)
            if self._checksum is not None:
                self._uploads.mark(self._id, state.ticket, unverified_from=self._begin)
            self._state = state
            self._next_check = self._begin + limits.check_space_bytes

    def append(self, chunks: list[bytes]) -> None:
        """Write what came.

        Raises:
            MalformedUpload: more than the upload's length.
            UnsupportedUpload: the upload's beginning is not a slide's; it is removed.
            StorageFull: there is no room; what was written stays.
        """
        with self._turn:
            if self._over:
                return
            assert self._state is not None
            before = self.offset
            for chunk in chunks:
                self._check_length(self._state, self.offset + len(chunk))
                self._write(chunk)
            if self._checksum is None and before < HEAD_BYTES <= self.offset:
                self._uploads.judge(self._id, self._file)
            if self.offset >= self._next_check:
                limits = self._uploads.limits
                self._next_check = self.offset + limits.check_space_bytes
                check_space(self._uploads.root.uploads, limits.min_free_bytes)

    def finish(self) -> FinishedUpload | None:
        """The body is over: check it, and with the upload's last piece store the slide.

        Raises:
            ChecksumMismatch: the piece is dropped.
            UnsupportedUpload, StorageFull: as `ResumableUploads.finish`.
        """
        with self._turn:
            if self._over:
                return None
            assert self._state is not None
            ticket = self._state.ticket
            with storage_errors(self._uploads.limits.min_free_bytes):
                os.fsync(self._file)
            if self._checksum is not None:
                if not hmac.compare_digest(self._sum.digest(), self._checksum.digest):
                    raise ChecksumMismatch(self._checksum.algorithm)
                self._uploads.mark(self._id, ticket, unverified_from=None)
            self._verified = True
            if self.offset < ticket.length:
                return None
            sha256 = self._whole.hexdigest() if self._whole is not None else None
            return self._uploads.finish(self._id, ticket, self._file, sha256)

    def close(self) -> None:
        """Keep what arrived, or drop it if it had to be checked; release the lock."""
        with self._turn, self._held:
            self._over = True
            state, self._state = self._state, None
            if state is None or self._verified or os.fstat(self._file).st_nlink == 0:
                return
            # The offset is asked for again in any case, so a failure here loses nothing.
            with contextlib.suppress(OSError, StorageFull):
                if self._checksum is not None:
                    os.ftruncate(self._file, self._begin)
                    self._uploads.mark(self._id, state.ticket, unverified_from=None)
                os.fsync(self._file)

    def _write(self, chunk: bytes) -> None:
        with storage_errors(self._uploads.limits.min_free_bytes):
            write_all(self._file, memoryview(chunk))
        self.offset += len(chunk)
        for running in (self._sum, self._whole):
            if running is not None:
                running.update(chunk)

    def _check_offset(self, state: UploadState) -> None:
        if state.offset != self._begin:
            raise OffsetMismatch(self._begin, state.offset)

    def _check_length(self, state: UploadState, end: int) -> None:
        if end > state.ticket.length:
            raise MalformedUpload(
                f"the piece ends at byte {end}, Upload-Length is {state.ticket.length}: send no"
                " more than that"
            )
