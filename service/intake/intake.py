"""What all uploads of a process share: places, threads that write, limits."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, ParamSpec, Self, TypeVar

from starlette.requests import ClientDisconnect, Request

from service.intake.errors import MalformedUpload, TooManyUploads, UploadAborted, UploadStalled
from service.intake.limits import IntakeLimits
from service.intake.resumable import ResumableUploads
from service.layout import DataRoot
from service.settings import ServiceSettings

BEHIND_THE_LOOP: Final = 5
"""By how much niceness threads that write stand behind the one that answers."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Intake:
    """Built once in a process, closed at its end.

    Parsing, hashing and writing happen in a few threads, a block at a time; an upload waits for its
    block, so the sender waits too and memory stays flat.

    Args:
        root: whose directories exist.
        limits: of each upload.

    Attributes:
        uploads: the resumable ones; blocking, so for `run`.
    """

    def __init__(self, root: DataRoot, limits: IntakeLimits) -> None:
        self.root = root
        self.limits = limits
        self.uploads = ResumableUploads(root, limits)
        self._running = 0
        self._threads = ThreadPoolExecutor(
            limits.writers, thread_name_prefix="intake", initializer=_stand_back
        )

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """As an installation set it."""
        return cls(DataRoot.of(settings), IntakeLimits.of(settings))

    def close(self) -> None:
        """Wait for what is being written."""
        self._threads.shutdown()

    @contextmanager
    def take_place(self) -> Iterator[None]:
        """Count as one of the running uploads.

        Raises:
            TooManyUploads: there are as many as allowed.
        """
        if self._running >= self.limits.max_uploads:
            raise TooManyUploads(self.limits.max_uploads)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run blocking work in a thread. It goes on when the caller is cancelled."""
        future = self._threads.submit(work, *args, **kwargs)
        return await asyncio.wrap_future(future)

    async def blocks(self, request: Request) -> AsyncIterator[list[bytes]]:
        """A request's body in pieces of about `limits.block_bytes`, as lists of chunks.

        Raises:
            UploadAborted: the connection broke. What came before was yielded.
            UploadStalled: nothing came for `limits.stall_s`. Likewise.
        """
        chunks: list[bytes] = []
        gathered = 0
        stream = request.stream()
        while True:
            try:
                async with asyncio.timeout(self.limits.stall_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                break
            except (ClientDisconnect, TimeoutError) as err:
                if chunks:
                    yield chunks
                if isinstance(err, TimeoutError):
                    raise UploadStalled(self.limits.stall_s) from err
                raise UploadAborted from err
            if chunk:
                chunks.append(chunk)
                gathered += len(chunk)
            if gathered >= self.limits.block_bytes:
                yield chunks
                chunks, gathered = [], 0
        if chunks:
            yield chunks


def _stand_back() -> None:
    """Have this thread leave the CPU to the event loop: questions are answered before slides.

    Only Linux gives threads priorities of their own; where it may not be set, nothing is lost.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            priority = os.getpriority(os.PRIO_PROCESS, thread) + BEHIND_THE_LOOP
            os.setpriority(os.PRIO_PROCESS, thread, priority)


def read_length(request: Request) -> int | None:
    """What a request's Content-Length says, None without one.

    Raises:
        MalformedUpload: it is no number, or the body is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MalformedUpload("the body is compressed (Content-Encoding): send it as it is")
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedUpload(f"Content-Length is {text[:30]!r}: send a number of bytes")
    return int(text)
