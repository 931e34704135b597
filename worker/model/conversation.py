"""The server's side of one connection: read a request, check it, wait for its results."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.density import relative_density
from models.detector_card import check_fields
from models.errors import ModelError, PatchShapeError, SaliencyError
from worker.model.engine import Engine
from worker.model.memory import map_received
from worker.model.schedule import Closed, Job, Key
from worker.model.wire import (
    MAX_FIELD_PX,
    MAX_REQUEST_BYTES,
    PREFIX,
    PROTOCOL,
    AskStats,
    Cards,
    Classify,
    ConnectionLost,
    Detect,
    Explain,
    Hello,
    InvalidMessage,
    Message,
    Ping,
    Pong,
    Refusal,
    Request,
    Result,
    Share,
    Shared,
    Stats,
    Working,
    pack,
    parse_request,
    receive_exactly,
    unpack_prefix,
)

STOPPING: Final = "the model process is stopping or overloaded"
TOO_MANY_FDS: Final = "a file descriptor that belongs to no memory"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a conversation waits for what, s.

    Attributes:
        tick: between two looks whether a waiting client is still there.
        working_every: between two signs of life to a waiting client.
        stalled: a batch that takes longer has hung, and no more signs of life are sent.
        message: a message begun is complete within this time, and a reply taken, or the
            connection ends.
        idle: a connection without a request for this long ends; clients connect anew by themselves.
    """

    tick: float = 0.25
    working_every: float = 2.0
    stalled: float = 120.0
    message: float = 10.0
    idle: float = 600.0


class Conversation:
    """One client's connection, served by one thread.

    Args:
        sock: connected; closed at the end of `run`.
        engine: computes.
        stats: what to say when asked.
        patience: how long it waits for what.
    """

    def __init__(
        self,
        sock: socket.socket,
        engine: Engine,
        stats: Callable[[], Stats],
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._sock = sock
        self._engine = engine
        self._stats = stats
        self._memory: NDArray[np.uint8] | None = None
        self._classifier = ""
        self._sha256 = ""

    def run(self) -> None:
        """Serve until the client leaves, breaks the protocol or falls silent."""
        with self._sock:
            try:
                while True:
                    request, fds = self._receive()
                    try:
                        reply, body = self._answer(request, fds)
                    finally:
                        _close(fds)
                    self._send(reply, body)
            except InvalidMessage as err:  # what follows in the stream cannot be trusted
                self._say_farewell(Refusal(code="protocol", message=str(err)))
            except Closed:
                self._say_farewell(Refusal(code="busy", message=STOPPING))
            except (ConnectionLost, OSError):
                pass

    def hang_up(self) -> None:
        """From another thread: read no further request; one being served gets its reply."""
        try:
            self._sock.shutdown(socket.SHUT_RD)
        except OSError:
            return

    def _answer(self, request: Request, fds: list[int]) -> tuple[Message, bytes]:
        if fds and not isinstance(request, Share):
            raise InvalidMessage(TOO_MANY_FDS)
        try:
            match request:
                case Ping():
                    return Pong(), b""
                case AskStats():
                    return self._stats(), b""
                case Hello():
                    return self._greet(request), b""
                case Share():
                    return self._take_over(request, fds), b""
                case Classify():
                    return Result(), self._classify(request)
                case Detect():
                    return self._detect(request)
                case Explain():
                    return Result(), self._explain(request)
        except (PatchShapeError, SaliencyError) as err:
            return Refusal(code="invalid", message=str(err)), b""
        except ModelError as err:
            return Refusal(code="model_unavailable", message=str(err)), b""

    def _greet(self, request: Hello) -> Message:
        if request.protocol != PROTOCOL:
            raise InvalidMessage(
                f"protocol {request.protocol}, this process speaks {PROTOCOL}: restart the service"
            )
        name = request.classifier or ""
        networks = self._engine.networks
        if (classifier := networks.find(name)) is None:
            self._await(Job(Key("load", name), np.empty((1, 0), np.uint8)))
            classifier = networks.find(name)
        if classifier is None:  # pushed out again at once by others
            raise Closed
        self._classifier, self._sha256 = name, classifier.card.sha256
        return Cards(detector=networks.detector.card, classifier=classifier.card)

    def _take_over(self, request: Share, fds: list[int]) -> Message:
        if len(fds) != 1:
            raise InvalidMessage(f"{len(fds)} file descriptors with a memory; want one")
        self._memory = None  # the earlier one is unmapped before the next is mapped
        self._memory = map_received(fds[0], request.size)
        return Shared()

    def _classify(self, request: Classify) -> bytes:
        job = self._classifier_job("classify", request.count)
        return self._await(job).astype("<f4", copy=False).tobytes()

    def _explain(self, request: Explain) -> bytes:
        job = self._classifier_job(
            "saliency", 1, target=request.target, samples=request.samples, seed=request.seed
        )
        return self._await(job).astype("<f4", copy=False).tobytes()

    def _classifier_job(self, operation: str, count: int, **options: object) -> Job:
        if not self._sha256:
            raise InvalidMessage(f"{operation} before hello")
        networks = self._engine.networks
        px = networks.default.card.patch_px  # the same for every classifier
        patches = self._view((count, px, px, 3))
        limit = networks.default.batch_size if operation == "classify" else 1
        key = Key(operation, self._classifier, (px, px, 3), limit, **options)  # type: ignore[arg-type]
        return Job(key, patches, self._sha256)

    def _detect(self, request: Detect) -> tuple[Message, bytes]:
        count, height, width = request.count, request.height, request.width
        if count * height * width > MAX_FIELD_PX:
            raise PatchShapeError(
                f"{count} fields of {width} × {height} px in one request; at most {MAX_FIELD_PX} px"
            )
        fields = self._view((count, height, width, 3))
        background, red_cell = np.array(request.background), np.array(request.red_cell)
        check_fields(fields, background, red_cell)
        if not ((background >= 0) & (background <= 255)).all():
            raise PatchShapeError(f"a background of {request.background}; want 0 to 255")
        density = relative_density(fields, background, red_cell)
        limit = self._engine.limit_fields(height, width)
        key = Key("detect", shape=density.shape[1:], limit=limit, rim_px=request.rim_px)
        maps = self._await(Job(key, density))
        found = self._engine.networks.detector.decode(maps)
        peaks = [(p.x, p.y, p.diameter_um, p.score) for peaks in found for p in peaks]
        body = np.array(peaks, "<f8").tobytes()
        return Result(peaks=tuple(len(peaks) for peaks in found)), body

    def _view(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The beginning of the shared memory as an array."""
        size = int(np.prod(shape, dtype=np.int64))
        held = 0 if self._memory is None else len(self._memory)
        if self._memory is None or size > held:
            raise PatchShapeError(f"pixels of {size} bytes; {held} bytes are shared")
        return self._memory[:size].reshape(shape)

    def _await(self, job: Job) -> NDArray[np.float32]:
        """Have a job computed.

        Raises:
            ModelError: it failed. Closed: the process is stopping. ConnectionLost: nobody waits.
        """
        self._engine.schedule.put(job)
        told = time.monotonic()
        try:
            while not job.finished.wait(self._patience.tick):
                if self._client_left():
                    raise ConnectionLost("the client left while its request was computed")
                busy_since = self._engine.busy_since
                stalled = (
                    busy_since is not None
                    and time.monotonic() - busy_since > self._patience.stalled
                )
                if time.monotonic() - told > self._patience.working_every and not stalled:
                    self._send(Working(), b"")
                    told = time.monotonic()
        except BaseException:
            self._engine.schedule.withdraw(job)
            raise
        if job.error is not None:
            raise job.error
        return job.results[0] if len(job.results) == 1 else np.concatenate(job.results)

    def _client_left(self) -> bool:
        self._sock.setblocking(False)
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def _receive(self) -> tuple[Request, list[int]]:
        """The next request, and the file descriptors that came with its first bytes."""
        self._sock.settimeout(self._patience.idle)
        deadline = float("inf")
        fds: list[int] = []
        prefix = b""
        try:
            while len(prefix) < PREFIX.size:
                got, new, _, _ = socket.recv_fds(
                    self._sock, PREFIX.size - len(prefix), 1, socket.MSG_CMSG_CLOEXEC
                )
                fds += new
                if not got:
                    raise ConnectionLost("closed by the client")
                if len(fds) > 1:
                    raise InvalidMessage(TOO_MANY_FDS)
                prefix += got
                deadline = min(deadline, time.monotonic() + self._patience.message)
                self._allow_until(deadline)
            header, body = unpack_prefix(prefix, MAX_REQUEST_BYTES)
            if body:
                raise InvalidMessage(f"a request with a body of {body} bytes")
            text = receive_exactly(self._sock, header, lambda: self._allow_until(deadline))
            return parse_request(bytes(text)), fds
        except BaseException:
            _close(fds)
            raise

    def _allow_until(self, deadline: float) -> None:
        """Let the next read wait no longer than that."""
        if (left := deadline - time.monotonic()) <= 0:
            raise ConnectionLost(f"no whole message within {self._patience.message:g} s")
        self._sock.settimeout(left)

    def _send(self, message: Message, body: bytes) -> None:
        self._sock.settimeout(self._patience.message)
        self._sock.sendall(pack(message, body))

    def _say_farewell(self, refusal: Refusal) -> None:
        try:
            self._send(refusal, b"")
        except OSError:
            return


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
