"""A benchmark's result with everything needed to read it later."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from worker.cpus import usable_cpus

RESULTS: Final = Path(__file__).parent / "results"


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
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def save_result(name: str, result: dict[str, Any]) -> Path:
    """Write a result as `results/<name>-<commit>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{result['run']['commit']}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
