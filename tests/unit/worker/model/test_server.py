"""The server against clients that are broken, hostile, too many or gone."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from torch import nn

from models.detector import Detector
from models.errors import PatchShapeError
from models.golden import golden_patches
from models.predictor import Classifier
from models.taxonomy import CODES, CellClass
from service.contract.failure import RETRYABLE, AnalysisError, FailureCode
from tests.cards import make_card
from worker.model.client import RemotePredictor, fetch_saliency, fetch_stats, ping
from worker.model.connection import Busy, Connection, Refused
from worker.model.conversation import Patience
from worker.model.networks import Networks
from worker.model.server import AddressTaken, EngineFailed, serve
from worker.model.wire import (
    MAX_REQUEST_BYTES,
    PREFIX,
    PROTOCOL,
    Classify,
    Detect,
    Explain,
    Hello,
    InvalidMessage,
    Message,
    Ping,
    Refusal,
    Share,
    Stats,
    pack,
    parse_reply,
)

CONNECTIONS = 4
QUICK = Patience(tick=0.02, working_every=0.05, message=0.5)


class Gate(nn.Module):
    """A network that waits until it is let through, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CODES))
        self.entered, self.open = Event(), Event()
        self.open.set()
        self.broken = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        assert self.open.wait(60)
        if self.broken:
            raise RuntimeError("the device is gone")
        out: torch.Tensor = self.head(images.mean((2, 3)))
        return out


class Served:
    """A server in a thread of this process."""

    def __init__(self, address: Path, detector: Detector, sha256: str = "0" * 64) -> None:
        torch.manual_seed(0)
        self.address = address
        self.gate = Gate()
        card = make_card(input_px=64, unsupported=(CellClass.MOB,))
        classifier = Classifier(self.gate, card.model_copy(update={"sha256": sha256}))
        self.networks = Networks(detector, classifier)
        self.error: Exception | None = None
        self._stop = Event()
        ready = Event()
        self._thread = Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(60)

    def _run(self, ready: Event) -> None:
        try:
            serve(
                self.address,
                self.networks,
                stop=self._stop,
                on_ready=lambda detector, classifier: ready.set(),
                max_connections=CONNECTIONS,
                patience=QUICK,
            )
        except EngineFailed as err:
            self.error = err

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self.join()


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture
def served(tmp_path, detector) -> Iterator[Served]:
    served = Served(tmp_path / "m.sock", detector)
    yield served
    served.gate.open.set()
    served.stop()


def raw(served: Served) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(served.address))
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    try:
        while got := sock.recv(1 << 16):
            data += got
    except ConnectionResetError:
        pass
    return data


def refusal_in(data: bytes) -> Refusal:
    header, _ = PREFIX.unpack(data[: PREFIX.size])
    reply = parse_reply(data[PREFIX.size :][:header])
    assert isinstance(reply, Refusal)
    return reply


def still_serves(served: Served) -> bool:
    patches = golden_patches()
    with RemotePredictor(served.address, patience_s=30) as remote:
        found = remote.classifier.predict(patches)
    return bool(np.abs(found - served.networks.default.predict(patches)).max() <= 1e-5)


def connect(served: Served) -> Connection:
    connection = Connection(served.address, silence_s=30)
    connection.exchange(Hello(protocol=PROTOCOL, classifier=None))
    return connection


GARBAGE = {
    "random bytes": np.random.default_rng(1).bytes(4096),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "a header of 4 GB": PREFIX.pack(0xFFFFFFFF, 0),
    "a header a byte too long": PREFIX.pack(MAX_REQUEST_BYTES + 1, 0),
    "no header": PREFIX.pack(0, 0),
    "a body": PREFIX.pack(13, 5) + b'{"op":"ping"}12345',
    "no JSON": PREFIX.pack(4, 0) + b"\x80\x04\x95.",
    "deep JSON": PREFIX.pack(10_000, 0) + b"[" * 10_000,
    "an unknown operation": PREFIX.pack(15, 0) + b'{"op":"reboot"}',
    "another protocol": pack(Hello(protocol=PROTOCOL + 1, classifier=None)),
    "work before hello": pack(Classify(count=1)),
    "memory without a descriptor": pack(Share(size=4096)),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_the_connection_closed(served, data):
    with raw(served) as sock:
        sock.sendall(data)
        assert refusal_in(read_all(sock)).code == "protocol"
    assert still_serves(served)


@pytest.mark.parametrize("data", [b"", PREFIX.pack(13, 0)[:5], PREFIX.pack(13, 0) + b'{"op":'])
def test_half_a_message_and_silence_end_that_connection_and_delay_no_other(served, data):
    with raw(served) as sock:
        sock.sendall(data)
        assert still_serves(served)
        if data:
            assert read_all(sock) == b""


@pytest.mark.parametrize("cut", [0, 3, 8, 12])
def test_a_client_that_closes_in_the_middle_of_a_message_harms_nobody(served, cut):
    with raw(served) as sock:
        sock.sendall(pack(Ping())[:cut])
    assert still_serves(served)


def test_a_client_that_closes_while_its_request_is_computed_harms_nobody(served):
    served.gate.open.clear()
    leaving, staying = connect(served), connect(served)
    leaving._share(golden_patches())
    leaving._send(Classify(count=4))
    assert served.gate.entered.wait(30)
    leaving.close()
    served.gate.open.set()
    _, body = staying.exchange(Classify(count=4), golden_patches())
    assert len(body) == 4 * 15 * 4
    staying.close()
    assert still_serves(served)


def memory_of(size: int, seals: int) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


@pytest.mark.parametrize(
    ("size", "seals"),
    [(100 << 30, fcntl.F_SEAL_SHRINK), (4096, 0), (8192, fcntl.F_SEAL_SHRINK)],
    ids=["100 GB", "could be cut", "not of the size that was said"],
)
def test_memory_that_is_dangerous_is_refused(served, size, seals):
    fd = memory_of(size, seals)
    with raw(served) as sock:
        said = 4096 if size == 8192 else size
        socket.send_fds(sock, [pack(Share(size=said))], [fd])
        os.close(fd)
        assert refusal_in(read_all(sock)).code == "protocol"
    assert still_serves(served)


@pytest.mark.parametrize("message", [Ping(), Hello(protocol=PROTOCOL, classifier=None)])
def test_a_descriptor_that_belongs_to_no_memory_is_refused(served, message: Message):
    fd = memory_of(4096, fcntl.F_SEAL_SHRINK)
    with raw(served) as sock:
        socket.send_fds(sock, [pack(message)], [fd])
        os.close(fd)
        assert refusal_in(read_all(sock)).code == "protocol"


GREY = (200.0, 200.0, 200.0)
TOO_MUCH: list[Message] = [
    Classify(count=5),
    Classify(count=1 << 26),
    Detect(count=1, height=4096, width=4097, background=GREY, red_cell=(0.2, 0.5, 0.4)),
    Detect(count=1, height=1100, width=1100, background=GREY, red_cell=(0.2, 0.5, 0.4)),
    Detect(count=1, height=64, width=64, background=(1e9, 0, 0), red_cell=(0.2, 0.5, 0.4)),
    Detect(count=1, height=64, width=64, background=GREY, red_cell=(0.0, 0.5, 0.4)),
    Explain(target=CellClass.MOB),
]


@pytest.mark.parametrize("message", TOO_MUCH, ids=repr)
def test_a_request_beyond_what_is_shared_or_allowed_is_refused_and_the_next_one_served(
    served, message
):
    with connect(served) as connection:
        connection.exchange(Classify(count=4), golden_patches())  # shares 2 MiB
        with pytest.raises(Refused) as caught:
            connection.exchange(message)
        assert caught.value.code == "invalid"
        _, body = connection.exchange(Classify(count=4))
        assert len(body) == 4 * 15 * 4


def test_one_connection_too_many_is_told_to_try_again_and_served_when_one_has_left(served):
    held = [connect(served) for _ in range(CONNECTIONS)]
    with Connection(served.address, silence_s=30) as late, pytest.raises(Busy):
        late.exchange(Ping())
    held.pop().close()
    assert still_serves(served)
    for connection in held:
        connection.close()


def test_a_waiting_client_hears_that_the_networks_are_at_work(served):
    served.gate.open.clear()
    with connect(served) as connection:
        connection._share(golden_patches())
        connection._send(Classify(count=4))
        connection._sock.settimeout(30)
        assert b"working" in connection._sock.recv(1000, socket.MSG_PEEK)
        served.gate.open.set()
        connection._receive()
        assert connection.worked_at > 0


def test_a_busy_process_is_waited_for_longer_than_patience(served):
    served.gate.open.clear()
    found = []
    with RemotePredictor(served.address, patience_s=1.0) as remote:
        thread = Thread(target=lambda: found.append(remote.classifier.predict(golden_patches())))
        thread.start()
        thread.join(2.0)
        assert thread.is_alive()
        served.gate.open.set()
        thread.join(30)
    assert found[0].shape == (4, 15)


def cancel_after(calls: int) -> Callable[[], None]:
    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return check


def test_a_cancelled_scan_stops_waiting_for_a_reply(served):
    served.gate.open.clear()
    remote = RemotePredictor(served.address, check=cancel_after(10))
    with remote, pytest.raises(KeyboardInterrupt):
        remote.classifier.predict(golden_patches())
    served.gate.open.set()
    assert still_serves(served)


def test_a_cancelled_scan_stops_waiting_for_a_process_that_is_gone(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        RemotePredictor(tmp_path / "nobody", check=cancel_after(3))


def test_a_process_that_stays_away_is_model_unavailable_when_patience_is_over(tmp_path):
    with pytest.raises(AnalysisError, match=r"no answer for 0\.3 s") as caught:
        RemotePredictor(tmp_path / "nobody", patience_s=0.3)
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    assert caught.value.code in RETRYABLE
    assert not ping(tmp_path / "nobody")
    assert fetch_stats(tmp_path / "nobody") is None


def test_a_process_started_anew_with_other_weights_is_not_used(tmp_path, detector):
    address = tmp_path / "m.sock"
    first = Served(address, detector)
    with RemotePredictor(address, patience_s=30) as remote:
        remote.classifier.predict(golden_patches())
        first.stop()
        second = Served(address, detector, sha256="1" * 64)
        with pytest.raises(AnalysisError, match="other weights") as caught:
            remote.classifier.predict(golden_patches())
    second.stop()
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_device_ends_the_server_and_clients_find_the_next_one(tmp_path, detector):
    address = tmp_path / "m.sock"
    first = Served(address, detector)
    first.gate.broken = True
    found = []
    with RemotePredictor(address, patience_s=60) as remote:
        thread = Thread(target=lambda: found.append(remote.classifier.predict(golden_patches())))
        thread.start()
        first.join()
        assert "the device is gone" in str(first.error)
        second = Served(address, detector)
        thread.join(60)
    second.stop()
    assert np.abs(found[0] - second.networks.default.predict(golden_patches())).max() <= 1e-5


def test_stopping_finishes_the_batch_at_hand_and_its_client_gets_the_reply(tmp_path, detector):
    served = Served(tmp_path / "m.sock", detector)
    served.gate.open.clear()
    connection = connect(served)
    connection._share(golden_patches())
    connection._send(Classify(count=4))
    assert served.gate.entered.wait(30)
    stopper = Thread(target=served.stop)
    stopper.start()
    stopper.join(1.0)
    assert stopper.is_alive()
    served.gate.open.set()
    _, body = connection._receive()
    stopper.join(60)
    connection.close()
    assert len(body) == 4 * 15 * 4
    assert not served.address.exists()
    assert served.error is None


def test_what_is_no_socket_is_never_replaced(tmp_path, served):
    file = tmp_path / "file"
    file.write_text("a file")
    for address in (file, served.address, tmp_path / "none" / "m.sock", tmp_path / ("x" * 108)):
        with pytest.raises(AddressTaken):
            serve(address, served.networks, stop=Event())
    assert file.read_text() == "a file"
    assert still_serves(served)


def test_a_target_the_classifier_cannot_name_is_a_typed_error(served):
    with pytest.raises(PatchShapeError, match="MOB"):
        fetch_saliency(served.address, golden_patches()[0], target=CellClass.MOB)
    assert fetch_saliency(served.address, golden_patches()[0]).shape == (400, 400)


def test_wrong_shapes_are_refused_before_they_are_sent(served):
    with RemotePredictor(served.address) as remote:
        with pytest.raises(PatchShapeError, match="400"):
            remote.classifier.predict(np.zeros((1, 399, 400, 3), np.uint8))
        with pytest.raises(PatchShapeError, match="above 0"):
            remote.detector.detect(np.zeros((1, 8, 8, 3), np.uint8), np.ones(3), np.zeros(3))


def test_a_server_that_talks_nonsense_is_model_unavailable(tmp_path):
    address = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        thread = Thread(target=_talk_nonsense, args=(listener,))
        thread.start()
        with pytest.raises(AnalysisError, match="does not speak") as caught:
            RemotePredictor(address, patience_s=30)
        thread.join()
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    assert isinstance(caught.value.__cause__, InvalidMessage)


def _talk_nonsense(listener: socket.socket) -> None:
    sock, _ = listener.accept()
    with sock:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.recv(1000)


def test_stats_say_who_is_connected_and_what_is_loaded(served):
    with connect(served) as connection:
        connection.exchange(Classify(count=4), golden_patches())
        stats = fetch_stats(served.address)
    assert isinstance(stats, Stats)
    assert stats.connections == 2
    assert stats.classifiers == ("made-up",)
    assert stats.operations["classify"].batch_rows == {4: 1}
