"""The client's side of one connection to the model process."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from worker.model.memory import OwnMemory
from worker.model.wire import (
    MAX_REPLY_BYTES,
    PREFIX,
    Cards,
    ConnectionLost,
    Message,
    Refusal,
    Reply,
    Request,
    Share,
    Shared,
    Working,
    pack,
    parse_reply,
    receive_exactly,
    unpack_prefix,
)

TICK_S: Final = 0.25
"""How often a waiting client looks whether it should stop: a scan is cancelled within seconds."""


class Busy(Exception):
    """The process cannot take this now: connect anew and try again."""


class Refused(Exception):
    """The process will not do this.

    Args:
        code: "invalid", "protocol" or "model_unavailable".
        message: why.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Connection:
    """One connection, used by one thread.

    Args:
        address: of the process's Unix socket.
        silence_s: longest wait for a sign of life, s.
        check: called at least every quarter of a second of a wait; what it raises ends it.

    Attributes:
        worked_at: `time.monotonic` when the process last said that it is at work; 0 before.

    Raises:
        ConnectionLost: nobody listens there.
    """

    def __init__(
        self, address: Path, *, silence_s: float, check: Callable[[], None] = lambda: None
    ) -> None:
        self.worked_at = 0.0
        self._silence_s = silence_s
        self._check = check
        self._memory: OwnMemory | None = None
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(TICK_S)
        try:
            self._sock.connect(os.fspath(address))
        except OSError as err:
            self._sock.close()
            raise ConnectionLost(f"nobody listens: {err.strerror or err}") from err

    def exchange(
        self, request: Request, pixels: NDArray[np.uint8] | None = None
    ) -> tuple[Reply, bytes]:
        """Send a request and wait for its reply. After an error the connection is to be closed.

        Args:
            request: what is asked.
            pixels: that it is about; copied into the shared memory.

        Returns:
            The reply, never `Working` or `Refusal`, and its body.

        Raises:
            ConnectionLost: the process is gone, or has shown no sign of life for `silence_s`.
            Busy: it cannot take the request now.
            Refused: it never will.
            InvalidMessage: its reply is none.
        """
        if pixels is not None:
            self._share(pixels)
        self._send(request)
        return self._receive()

    def close(self) -> None:
        """Close socket and memory."""
        self._sock.close()
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _share(self, pixels: NDArray[np.uint8]) -> None:
        if self._memory is None or self._memory.size < pixels.size:
            if self._memory is not None:
                self._memory.close()
                self._memory = None
            self._memory = OwnMemory(pixels.size)
            self._send(Share(size=self._memory.size), self._memory.fd)
            reply, _ = self._receive()
            assert isinstance(reply, Shared), reply
        self._memory.write(pixels)

    def _send(self, message: Message, fd: int | None = None) -> None:
        data = pack(message)
        try:
            if fd is not None:
                sent = socket.send_fds(self._sock, [data], [fd])
                data = data[sent:]
            self._sock.sendall(data)
        except OSError as err:
            raise self._explain_loss(str(err)) from err

    def _explain_loss(self, reason: str) -> Exception:
        """What to raise when sending fails: a process that turns clients away says why first."""
        try:
            self._receive()
        except (Busy, Refused, ConnectionLost) as said:
            return said
        return ConnectionLost(reason)

    def _receive(self) -> tuple[Reply, bytes]:
        deadline = time.monotonic() + self._silence_s

        def look() -> None:
            self._check()
            if time.monotonic() > deadline:
                raise ConnectionLost(f"no sign of life for {self._silence_s:g} s")

        while True:
            prefix = receive_exactly(self._sock, PREFIX.size, look)
            header, body = unpack_prefix(bytes(prefix), MAX_REPLY_BYTES)
            reply = parse_reply(bytes(receive_exactly(self._sock, header, look)))
            numbers = bytes(receive_exactly(self._sock, body, look))
            if isinstance(reply, Refusal):
                if reply.code == "busy":
                    raise Busy(reply.message)
                raise Refused(reply.code, reply.message)
            if not isinstance(reply, Working):
                return reply, numbers
            self.worked_at = time.monotonic()
            deadline = self.worked_at + self._silence_s


def expect_cards(reply: Reply) -> Cards:
    """The reply to `Hello`."""
    assert isinstance(reply, Cards), reply
    return reply
