"""The model process's socket: accept, hand each connection to a thread of its own, stop cleanly."""

import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from models.card import ClassifierCard
from models.detector_card import DetectorCard
from worker.model.conversation import Conversation, Patience
from worker.model.counters import Counters
from worker.model.engine import BatchRecord, Engine
from worker.model.networks import Networks
from worker.model.wire import Refusal, Stats, pack

MAX_CONNECTIONS: Final = 64
"""Open at a time; each has at most one request and one memory, so this bounds the queue, too."""

ACCEPT_TICK_S: Final = 0.25
"""How often the process looks whether it should stop."""

FAREWELL_S: Final = 5.0
"""How long open conversations may take to send their last replies at the end."""

OnReady = Callable[[DetectorCard, ClassifierCard], None]


class AddressTaken(Exception):
    """Another process answers on this socket, or something that is no socket lies there."""


class EngineFailed(Exception):
    """The networks cannot compute any more; the process is to be started anew."""


def serve(
    address: Path,
    networks: Networks,
    *,
    stop: Event,
    on_ready: OnReady = lambda detector, classifier: None,
    on_batch: Callable[[BatchRecord], None] = lambda record: None,
    max_connections: int = MAX_CONNECTIONS,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> None:
    """Serve until told to stop: then the batch at hand is finished and its replies are sent.

    Args:
        address: of the Unix socket; one left behind by a killed process is replaced. Only this
            process's user may connect.
        networks: loaded.
        stop: set from anywhere, for example a signal handler.
        on_ready: told the cards of detector and default classifier once clients can connect.
        on_batch: told of every batch, from the computing thread.
        max_connections: a further one is told to try again.
        patience: of every conversation.

    Raises:
        AddressTaken: the address is in use.
        EngineFailed: the device or the program failed while computing.
    """
    counters = Counters()

    def count(record: BatchRecord) -> None:
        counters.add(record)
        on_batch(record)

    engine = Engine(networks, count)
    with _listen(address) as listener:
        inode = address.stat().st_ino
        reception = Reception(engine, counters, max_connections, patience)
        engine.start()
        try:
            on_ready(*networks.cards)
            while not stop.is_set() and engine.alive:
                reception.accept(listener)
        finally:
            listener.close()
            _remove(address, inode)
            engine.stop()
            reception.close()
    if engine.failure is not None or not stop.is_set():
        raise EngineFailed(f"computing failed: {engine.failure!r}") from engine.failure


class Reception:
    """Keeps the open conversations, and no more of them than allowed."""

    def __init__(self, engine: Engine, counters: Counters, limit: int, patience: Patience) -> None:
        self._engine = engine
        self._counters = counters
        self._limit = limit
        self._patience = patience
        self._open: dict[Conversation, Thread] = {}
        self._lock = Lock()
        self._refused = 0
        self._started = time.monotonic()

    def accept(self, listener: socket.socket) -> None:
        """Take the next connection, if one comes within the listener's timeout."""
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            return
        except OSError:  # out of descriptors for the moment, or the client has gone already
            time.sleep(ACCEPT_TICK_S)
            return
        conversation = Conversation(sock, self._engine, self.read_stats, self._patience)
        thread = Thread(target=self._hold, args=(conversation,), daemon=True)
        with self._lock:
            full = len(self._open) >= self._limit
            if full:
                self._refused += 1
            else:
                self._open[conversation] = thread
        if full:
            _turn_away(sock, self._limit)
        else:
            thread.start()

    def read_stats(self) -> Stats:
        """What has been done, and by whom one is in use."""
        with self._lock:
            connections, refused = len(self._open), self._refused
        return Stats(
            uptime_s=round(time.monotonic() - self._started, 3),
            device=str(self._engine.networks.device),
            connections=connections,
            refused=refused,
            classifiers=self._engine.networks.names,
            operations=self._counters.read(),
        )

    def close(self) -> None:
        """Let all conversations send what they owe and end; those that do not are left behind."""
        with self._lock:
            threads = dict(self._open)
        for conversation in threads:
            conversation.hang_up()
        deadline = time.monotonic() + FAREWELL_S
        for thread in threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _hold(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        finally:
            with self._lock:
                del self._open[conversation]


def _listen(address: Path) -> socket.socket:
    """A socket that listens at an address, from the first moment for this user alone."""
    if address.exists():
        if not stat.S_ISSOCK(address.stat().st_mode):
            raise AddressTaken(f"{address.name} exists and is no socket: remove it")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fspath(address))
            except OSError:
                pass  # whoever left it is dead
            else:
                raise AddressTaken(f"another process answers at {address.name}: stop it first")
    draft = address.with_name(f"{address.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(draft))
        draft.chmod(0o600)
        listener.listen(MAX_CONNECTIONS)
        draft.rename(address)
    except OSError as err:
        listener.close()
        draft.unlink(missing_ok=True)
        raise AddressTaken(
            f"no socket can be made at {address.name}: {err.strerror or err}"
        ) from err
    listener.settimeout(ACCEPT_TICK_S)
    return listener


def _remove(address: Path, inode: int) -> None:
    """Remove the socket, unless another process has put its own there."""
    try:
        if address.stat().st_ino == inode:
            address.unlink()
    except FileNotFoundError:
        return


def _turn_away(sock: socket.socket, limit: int) -> None:
    message = f"{limit} connections are open, the most there may be: try again"
    with sock:
        sock.settimeout(ACCEPT_TICK_S)
        try:
            sock.sendall(pack(Refusal(code="busy", message=message)))
        except OSError:
            return
