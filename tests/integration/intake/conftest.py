import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.layout import DataRoot

SERVER = Path(__file__).with_name("server.py")
ROOT = Path(__file__).parents[3]

http = httpx.Client(
    verify=False, timeout=120, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False
)
"""One for all: making a client costs more than most requests here."""


class Server:
    """A uvicorn process with the intake, on a data directory of its own."""

    def __init__(self, data: Path, limits: dict[str, float]) -> None:
        self.root = DataRoot(data)
        self.limits = {"max_slide_bytes": 1 << 40, "min_free_bytes": 0, **limits}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, again after `kill`, and wait until it answers."""
        command = [sys.executable, str(SERVER), str(self.root.path), str(self.port)]
        self.process = subprocess.Popen(
            [*command, json.dumps(self.limits)], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), self.connect():
                return
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As an administrator does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    @property
    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def open_uploads(self) -> list[str]:
        """Names of files in `uploads`."""
        return sorted(path.name for path in self.root.uploads.iterdir())

    @property
    def slides(self) -> list[str]:
        """Hashes of the stored slides."""
        return sorted(path.name for path in self.root.slides.glob("*/*"))

    def connect(self) -> socket.socket:
        """A bare connection, for what no client library sends."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def empty(self) -> None:
        """As new, for the next test."""
        wait_until(lambda: not any(name.endswith(".partial") for name in self.open_uploads))
        for directory in (self.root.uploads, self.root.slides):
            for path in directory.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    """Running servers by their limits: starting one takes longer than most tests."""
    running: dict[str, Server] = {}
    yield running
    for server in running.values():
        server.stop()


@pytest.fixture
def serve(
    servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Gives a server with an empty data directory: `serve(**limits)`.

    With a directory, `serve(directory, **limits)`, one that ends with the test.
    """
    own: list[Server] = []

    def start(data: Path | None = None, **limits: float) -> Server:
        if data is not None:
            own.append(Server(data, limits))
            return own[-1]
        key = json.dumps(limits, sort_keys=True)
        if key not in servers:
            servers[key] = Server(tmp_path_factory.mktemp("server") / "data", limits)
        servers[key].empty()
        return servers[key]

    yield start
    for server in own:
        server.stop()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another process does; fails after a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.02)
