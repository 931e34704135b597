"""A real model process for tests, with a data directory of its own and known to nobody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from service.layout import DataRoot
from worker.model.client import ping

ROOT = Path(__file__).parents[1]
START_S = 300
"""Loading torch took two minutes where twelve processes shared two CPUs."""


class ModelProcess:
    """Started at once; `close` ends it.

    Args:
        data: the data directory it is told of.
        settings: further environment variables.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self.root = DataRoot(data.resolve())
        self._environment = os.environ | {
            "SMEARSCAN_DATA": str(data),
            "SMEARSCAN_DEVICE": "cpu",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self.start()

    @property
    def address(self) -> Path:
        return self.root.model_socket

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it, again if need be, and do not wait."""
        command = [sys.executable, "-m", "worker.model.process"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stderr=subprocess.PIPE, text=True
        )

    def await_ready(self) -> "ModelProcess":
        deadline = time.monotonic() + START_S
        while not ping(self.address):
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Its exit code and what it wrote to stderr."""
        _, errors = self._process.communicate(timeout=START_S)
        return self._process.returncode, errors

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for path in (self.address, self.address.parent):
            if path.exists():
                path.rmdir() if path.is_dir() else path.unlink()
