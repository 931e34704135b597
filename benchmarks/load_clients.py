"""Clients that put load on a service and cost the machine little, each kind in one process.

Polls are asked at fixed moments whether earlier ones are answered or not, over as many connections
as are idle; the time of one counts from the moment it was due, so a service that stalls is not
spared. Slides go from the page cache into the socket without passing through Python.
"""

import os
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

BUSY: Final = frozenset({429, 503})
"""Statuses that ask to come again, and must say when."""
BROKEN: Final = 0
"""Stands for the status of an exchange that had no answer."""
LAST_ANSWERS_S: Final = 10.0
"""How long polls may stay unanswered once no more are asked, s."""
BOUNDARY: Final = b"----------------------5a3f1c09e7b2d486"
HEAD: Final = (
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="slide"; filename="a.svs"\r\n\r\n'
)
TAIL: Final = b"\r\n--" + BOUNDARY + b"--\r\n"


@dataclass(slots=True)
class Outcome:
    """What was answered.

    Attributes:
        statuses: how often which; 0: the connection broke, or no answer came.
        polls: of each status poll the moment it was due, and how long after it its answer was
            there, s; the clock is `time.monotonic`.
        without_wait: answers 429 or 503 without `Retry-After`.
        cpu_s: that the client's process took.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    polls: list[tuple[float, float]] = field(default_factory=list)
    without_wait: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class _Connection:
    """One keep-alive connection; `due` is its open poll's, None while it is idle."""

    socket: socket.socket
    due: float | None = None
    received: bytes = b""


class Poller:
    """Asks for one address again and again.

    Args:
        address: host and port.
        request: the whole of it, as HTTP/1.1.
        connections: at most so many polls are open at a time; more wait, and their time runs.
    """

    def __init__(self, address: tuple[str, int], request: bytes, connections: int) -> None:
        self._address = address
        self._request = request
        self._ready = select.epoll()
        self._by_descriptor: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self.outcome = Outcome()
        for _ in range(connections):
            self._connect()

    def run(self, per_s: float, stop: Any) -> None:
        """Ask so often until the event is set, then wait for the last answers."""
        began, asked = time.monotonic(), 0
        while not stop.is_set():
            now = time.monotonic()
            while (due := began + asked / per_s) <= now and self._idle:
                self._ask(due)
                asked += 1
            self._take(max(0.0, due - now) if self._idle else 0.1)
        until = time.monotonic() + LAST_ANSWERS_S
        while len(self._idle) < len(self._by_descriptor) and time.monotonic() < until:
            self._take(0.1)
        self.outcome.statuses[BROKEN] += len(self._by_descriptor) - len(self._idle)
        self.outcome.statuses += Counter()  # without those that are zero
        self.outcome.cpu_s = time.process_time()
        for connection in self._by_descriptor.values():
            connection.socket.close()
        self._ready.close()

    def _connect(self) -> None:
        opened = socket.create_connection(self._address)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(opened)
        self._by_descriptor[opened.fileno()] = connection
        self._ready.register(opened, select.EPOLLIN)
        self._idle.append(connection)

    def _ask(self, due: float) -> None:
        connection = self._idle.popleft()
        connection.due = due
        try:
            connection.socket.sendall(self._request)
        except OSError:
            self._lose(connection)

    def _take(self, timeout_s: float) -> None:
        """Read what came within this time."""
        for descriptor, _ in self._ready.poll(timeout_s):
            connection = self._by_descriptor[descriptor]
            try:
                data = connection.socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._lose(connection)
                continue
            connection.received += data
            if (answer := read_answer(connection.received)) is not None:
                assert connection.due is not None, "an answer that nobody asked for"
                self._note(*answer)
                self.outcome.polls.append((connection.due, time.monotonic() - connection.due))
                connection.due, connection.received = None, b""
                self._idle.append(connection)

    def _note(self, status: int, has_wait: bool) -> None:
        self.outcome.statuses[status] += 1
        self.outcome.without_wait += status in BUSY and not has_wait

    def _lose(self, connection: _Connection) -> None:
        """Count a connection that ended as an error, idle or not, and make another one."""
        self.outcome.statuses[BROKEN] += 1
        if connection.due is None:
            self._idle.remove(connection)
        del self._by_descriptor[connection.socket.fileno()]
        connection.socket.close()
        self._connect()


def read_answer(received: bytes) -> tuple[int, bool] | None:
    """Status of an answer and whether it says when to come again; None while it is not whole."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    lower = head.lower()
    _, _, after = lower.partition(b"\r\ncontent-length:")
    if len(body) < int(after.partition(b"\r\n")[0]):
        return None
    return int(head[9:12]), b"\r\nretry-after:" in lower


def poll_status(
    address: tuple[str, int],
    scan_id: str,
    key: str,
    per_s: float,
    connections: int,
    stop: Any,
    results: Any,
) -> None:
    """Ask where a scan stands until `stop` is set; puts an `Outcome`. In a process of its own."""
    lines = (
        f"GET /v1/scans/{scan_id} HTTP/1.1",
        f"Host: {address[0]}",
        f"Authorization: Bearer {key}",
    )
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    poller = Poller(address, request, connections)
    poller.run(per_s, stop)
    results.put(poller.outcome)


def upload_all(
    address: tuple[str, int], slides: Sequence[bytes], rest: Path, key: str, results: Any
) -> None:
    """Post all slides at once, each in a thread; puts an `Outcome`. In a process of its own.

    Args:
        address: host and port.
        slides: how each begins.
        rest: a file with what follows in every one.
        key: API key.
        results: queue.
    """
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda s=slide: outcomes.append(upload(address, s, rest, key)))
        for slide in slides
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(
        Outcome(
            statuses=sum((outcome.statuses for outcome in outcomes), Counter()),
            without_wait=sum(outcome.without_wait for outcome in outcomes),
            cpu_s=time.process_time(),
        )
    )


def upload(address: tuple[str, int], beginning: bytes, rest: Path, key: str) -> Outcome:
    """Post one slide; again after a 429 or 503."""
    outcome = Outcome()
    length = len(HEAD) + len(beginning) + rest.stat().st_size + len(TAIL)
    lines = (
        "POST /v1/scans HTTP/1.1",
        f"Host: {address[0]}",
        f"Authorization: Bearer {key}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}",
        f"Content-Length: {length}",
        "Connection: close",
    )
    request = ("\r\n".join(lines) + "\r\n\r\n").encode() + HEAD + beginning
    while True:
        try:
            received = _post(address, request, rest)
            answer = read_answer(received)
        except OSError:
            answer = None
        if answer is None:
            outcome.statuses[BROKEN] += 1
            return outcome
        status, has_wait = answer
        outcome.statuses[status] += 1
        if status not in BUSY:
            return outcome
        if not has_wait:
            outcome.without_wait += 1
            return outcome
        time.sleep(_wait_of(received))


def _post(address: tuple[str, int], request: bytes, rest: Path) -> bytes:
    """Everything that is answered."""
    with socket.create_connection(address) as connection, rest.open("rb") as file:
        try:
            connection.sendall(request)
            offset, size = 0, rest.stat().st_size
            while offset < size:
                offset += os.sendfile(connection.fileno(), file.fileno(), offset, size - offset)
            connection.sendall(TAIL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its end: the answer says why
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def _wait_of(received: bytes) -> float:
    _, _, after = received.lower().partition(b"\r\nretry-after:")
    return float(after.partition(b"\r\n")[0])
