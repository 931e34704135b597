"""A benchmark's result with everything needed to read it later.

A result file holds `run` (who measured, on what), `work` (what was done; results of different work
are not compared), `measures` (by name: unit and one value a round; smaller is better) and
`yardsticks` (by a prefix of names: the measure that tells how fast the machine was in each round).
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Measured
from worker.cpus import usable_cpus

RESULTS: Final = Path(__file__).parent / "results"
LIBRARIES: Final = (
    "imagecodecs",
    "numpy",
    "openslide-bin",
    "openslide-python",
    "scipy",
    "tifffile",
    "tiffslide",
    "torch",
)


def describe_run(command: list[str]) -> dict[str, Any]:
    """Commit, machine and versions of a run."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(command),
        "cpu": _cpu_model(),
        "cpus": usable_cpus(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def as_measures(
    measured: Mapping[str, Measured], *, prefix: str = "", ours: str = ""
) -> dict[str, Any]:
    """Wall seconds of every round, as a result file holds them.

    Args:
        measured: by name.
        prefix: put before every name.
        ours: how the names begin that a change of smearscan can change; others are references.
    """
    return {
        prefix + name: {
            "unit": "s",
            "values": [round(value, 6) for value in times.wall_s],
            "prepare_s": [round(value, 6) for value in times.prepare_s],
            "cores": round(times.cores, 2),
            "reference": not name.startswith(ours),
        }
        for name, times in measured.items()
    }


def save_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a result as `<name>-<commit>.json`, with `-dirty` where the tree was."""
    folder.mkdir(exist_ok=True)
    run = result["run"]
    path = folder / f"{name}-{run['commit']}{'-dirty' if run['dirty'] else ''}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_result(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises:
        ValueError: it is not one.
    """
    result = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(result, dict) or not {"run", "work", "measures"} <= result.keys():
        raise ValueError(f"{path.name} is not a result with run, work and measures")
    return result


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
