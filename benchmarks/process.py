"""A command as a process of its own, as a user starts it, with its time and memory."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended well.

    Attributes:
        printed: its standard output.
        wall_s: seconds from start to end.
        peak_mb: the kernel's figure of its peak resident memory, 10⁶ bytes.
    """

    printed: str
    wall_s: float
    peak_mb: int


def run_measured(command: Sequence[str]) -> Finished:
    """Run a command; ends this program with the command's last words if it fails."""
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as child,
    ):
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            complaints.seek(0)
            last_words = complaints.read().decode()[-500:]
            raise SystemExit(f"{' '.join(command[:3])} failed: {last_words}")
    return Finished(
        printed=printed.decode(),
        wall_s=round(time.perf_counter() - start, 2),
        peak_mb=round(usage.ru_maxrss * 1024 / 1e6),
    )
