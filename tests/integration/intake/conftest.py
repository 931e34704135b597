import contextlib
import json
import os
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
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/status")
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


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test: `serve(data=None, **limits)`."""
    started: list[Server] = []

    def start(data: Path | None = None, **limits: float) -> Server:
        started.append(Server(data or tmp_path / "data", limits))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another process does; fails after a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.02)
