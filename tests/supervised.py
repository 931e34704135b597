"""A supervisor in a process of its own, watched through its log."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Self

PROGRAM = """
import asyncio, json, pathlib, sys
from service.logs import configure_logs
from service.supervisor import Child, ChildNotReady, supervise

def child(argv, ready_file=None, **fields):
    async def ready():
        while not pathlib.Path(ready_file).exists():
            await asyncio.sleep(0.01)
    return Child(argv=tuple(argv), ready=ready if ready_file else None, **fields)

configure_logs("supervisor")
try:
    in_order = supervise([child(**fields) for fields in json.loads(sys.argv[1])])
except ChildNotReady as err:
    sys.exit(f"{err}")
sys.exit(0 if in_order else 130)
"""
TIMEOUT_S = 60
"""Only a hang takes this long."""


class Supervised:
    """The program's children are given as fields of `Child`."""

    def __init__(self, *children: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(children)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._queue: Queue[dict[str, Any] | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)  # the second one: kill at once
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(json.loads(line) if line.startswith("{") else {"event": line.strip()})
        self._queue.put(None)

    def see(self, event: str, child: str | None = None) -> dict[str, Any]:
        """Wait for the next line that says this."""
        while (line := self._queue.get(timeout=TIMEOUT_S)) is not None:
            self.lines.append(line)
            if line["event"] == event and (child is None or line.get("child") == child):
                return line
        raise AssertionError(f"never said {event!r}: {self.lines}")

    def pid_of(self, child: str) -> int:
        """Process id in the next "started" line of the child."""
        return int(self.see("started", child)["child_pid"])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, read to the end of its log, and give its exit code."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Read to the end of its log, and give its exit code."""
        while (line := self._queue.get(timeout=TIMEOUT_S)) is not None:
            self.lines.append(line)
        return self.process.wait(TIMEOUT_S)

    def said(self) -> list[tuple[str, str]]:
        """(event, child) of every line that was read."""
        return [(line["event"], line.get("child", "")) for line in self.lines]


def is_alive(pid: int) -> bool:
    """Whether the process runs: neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_dead(pid: int) -> None:
    """Return when the process is gone; at once if it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], TIMEOUT_S)[0], f"{pid} lives on"
    finally:
        os.close(descriptor)
