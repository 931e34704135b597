"""A whole service for tests: `smearscan serve` in a process of its own, to be used and abused."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).parents[1]
KEY = "smsc_test-administrator"
START_S = 180
"""Only a hang takes this long: loading torch on a busy machine does not."""


class RunningService:
    """Started on entering, stopped on leaving.

    Args:
        data: its data directory.
        settings: more settings, by name without the prefix; None leaves one out.
    """

    def __init__(self, data: Path, **settings: object) -> None:
        self.data = data
        self.port = _free_port()
        self.log = data.with_name(f"{data.name}.log")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SMEARSCAN_")}
        given = {
            "bootstrap_key": KEY,
            "device": "cpu",
            "min_free_bytes": 0,
            "retry_backoff_s": 0.2,
            **settings,
        }
        self._environment = kept | {
            "PYTHONPATH": str(ROOT),
            **{
                f"SMEARSCAN_{name.upper()}": str(value)
                for name, value in given.items()
                if value is not None
            },
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.client.close()

    def start(self) -> None:
        """Start, and wait until slides can be analysed."""
        command = "from service.cli import main; main()"
        words = ["serve", "--data", str(self.data), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command, *words],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(self.is_ready, "ready")

    def stop(self) -> int:
        """As ctrl-C does; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=120)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait(self, happened: Callable[[], bool], what: str, within_s: float = START_S) -> float:
        """Wait until something has happened; how long it took, s."""
        began = time.monotonic()
        while not happened():
            if time.monotonic() - began > within_s:
                tail = self.log.read_text()[-6000:]
                raise AssertionError(f"not {what} within {within_s:g} s:\n{tail}")
            time.sleep(0.05)
        return time.monotonic() - began

    def submit(self, slide: bytes, **metadata: Any) -> dict[str, Any]:
        """Post a slide, again and again while the service is being mistreated."""
        deadline = time.monotonic() + START_S
        headers = {"Idempotency-Key": os.urandom(8).hex()}
        while True:
            try:
                answer = self.client.post(
                    "/v1/scans",
                    files={"slide": ("smear.tiff", slide)},
                    data={"metadata": json.dumps(metadata)},
                    headers=headers,
                )
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
                continue
            assert answer.status_code in {200, 202}, answer.text
            scan: dict[str, Any] = answer.json()
            return scan

    def scan(self, scan_id: str) -> dict[str, Any]:
        """Where a scan stands."""
        while True:
            try:
                answer = self.client.get(f"/v1/scans/{scan_id}")
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            assert answer.status_code == 200, answer.text
            scan: dict[str, Any] = answer.json()
            return scan

    def await_end(self, scan_id: str, within_s: float = START_S) -> dict[str, Any]:
        """A scan, once it is over."""
        over = {"succeeded", "failed", "cancelled"}
        self.wait(lambda: self.scan(scan_id)["state"] in over, f"over ({scan_id})", within_s)
        return self.scan(scan_id)

    def cells(self, scan_id: str) -> list[dict[str, Any]]:
        """All cells of a scan."""
        answer = self.client.get(f"/v1/scans/{scan_id}/report.geojson")
        assert answer.status_code == 200, answer.text
        cells: list[dict[str, Any]] = answer.json()["features"]
        return cells

    def pids(self, part: str) -> list[int]:
        """Living processes of a part: api, reconciler, model, rq, viewer, valkey or slide."""
        assert self.process is not None
        family = _descendants(self.process.pid)
        if part == "slide":
            workers = set(self.pids("rq"))
            return [pid for pid, (parent, _) in family.items() if parent in workers]
        words = {
            "api": "service.front",
            "reconciler": "service.reconciler",
            "model": "worker\0model",
            "viewer": "worker\0viewer",
            "rq": "worker\0rq",
            "valkey": "valkey-server",
        }[part]
        supervised = self.process.pid
        return [
            pid for pid, (parent, line) in family.items() if words in line and parent == supervised
        ]

    def family(self) -> list[int]:
        """Every living process of the service but the supervisor."""
        assert self.process is not None
        return list(_descendants(self.process.pid))

    def pids_below(self, supervisor: int, words: str) -> list[int]:
        """Living children of another supervisor whose command holds these words."""
        family = _descendants(supervisor)
        return [pid for pid, (_, line) in family.items() if words in line]

    def kill(self, part: str, number: int = 0, signum: int = signal.SIGKILL) -> bool:
        """Send one process of a part a signal; False if there is none just now."""
        pids = self.pids(part)
        if len(pids) <= number:
            return False
        try:
            os.kill(pids[number], signum)
        except ProcessLookupError:
            return False
        return True


def _descendants(root: int) -> dict[int, tuple[int, str]]:
    """Parent and command line of every living process below one."""
    every: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            every[int(path.name)] = (int(fields[1]), line)
    below, found = {root}, True
    while found:
        more = {pid for pid, (parent, _) in every.items() if parent in below} - below
        below |= more
        found = bool(more)
    return {pid: every[pid] for pid in below - {root} if pid in every}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
