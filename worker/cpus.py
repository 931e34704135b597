"""How many CPUs this process may really use: affinity and cgroup quota, not the machine's count."""

import math
import os
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")


def usable_cpus(cgroup_root: Path = CGROUP_ROOT) -> int:
    """CPUs in this process's affinity mask, capped by its cgroup's quota; at least 1.

    A container limited to 2 CPUs on a machine of 128 sees 128 in `os.cpu_count()`.

    Args:
        cgroup_root: where the cgroup v2 (`cpu.max`) or v1 (`cpu/cpu.cfs_*`) files are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup_root)
    return max(1, min(allowed or 1, math.ceil(quota) if quota else allowed or 1))


def _quota(root: Path) -> float | None:
    """CPUs the cgroup's quota amounts to; None if there is no limit."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        limit = _read(root / "cpu" / "cpu.cfs_quota_us")
        period = _read(root / "cpu" / "cpu.cfs_period_us")
    try:
        cpus = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
