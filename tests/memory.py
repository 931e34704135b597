"""Peak memory of one process.

`resource.getrusage` does not tell it: Linux hands a parent's peak down through fork and exec, and a
test worker's own peak is that of whatever test needed most.
"""

from pathlib import Path
from typing import Final

PROCESS: Final = Path("/proc/self")


def peak_mib() -> int:
    """The most memory this process held resident since its start or `forget_peak`, MiB."""
    for line in (PROCESS / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise RuntimeError("the kernel tells no VmHWM in /proc/self/status")


def forget_peak() -> None:
    """The peak is from now on what is held now (proc_pid_clear_refs(5))."""
    (PROCESS / "clear_refs").write_text("5")
