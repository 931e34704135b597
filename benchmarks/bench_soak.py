"""Many small scans through one service: `python -m benchmarks.bench_soak [--scans 300]`.

Prints how memory, files and Redis keys stand after each tenth of the scans. What grows with their
number on purpose is subtracted: each scan's own result directory and stored slide.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
from redis import Redis

from benchmarks.bench_load import resident_mb
from benchmarks.record import describe_run, save_result
from benchmarks.slides import CACHE
from service.embedded import redis_url
from service.layout import DataRoot
from tests.running_service import RunningService
from worker.demo import write_demo_slide

PARTS: Final = ("api", "reconciler", "model", "rq", "viewer", "valkey")
WAITING: Final = 8
"""Scans that wait or run at a time."""


def stand(service: RunningService, scans: int) -> dict[str, Any]:
    """Memory per part, MB; files beside the scans' own; keys; open descriptors of the api."""
    root = DataRoot(service.data.resolve())
    own = sum(1 for folder in (root.results, root.slides) for p in folder.rglob("*") if p.is_file())
    every = sum(1 for path in root.path.rglob("*") if path.is_file())
    with Redis.from_url(redis_url(root)) as redis:
        keys = redis.dbsize()
    descriptors = sum(
        len(list(Path(f"/proc/{pid}/fd").iterdir()))
        for part in ("api", "model", "rq", "reconciler")
        for pid in service.pids(part)
    )
    return {
        "scans": scans,
        "memory_mb": {part: round(resident_mb(service.pids(part)), 1) for part in PARTS},
        "other_files": every - own,
        "redis_keys": keys,
        "descriptors": descriptors,
    }


@click.command()
@click.option("--scans", default=300, show_default=True)
@click.option("--mm2", default=0.05, show_default=True, help="Of each slide.")
def main(scans: int, mm2: float) -> None:
    """Print and store where the service stands after each tenth."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder) / "slide.tiff"
        write_demo_slide(path, mm2=mm2, seed=5, leukocytes=8, blast_fraction=0.1)
        slide = path.read_bytes()
        with RunningService(Path(folder) / "data") as service:
            stands = []
            began = time.monotonic()
            names: list[str] = []
            for number in range(scans):
                names.append(service.submit(slide + f"{number}".encode())["scan_id"])
                if number >= WAITING:
                    ended = service.await_end(names[number - WAITING])
                    assert ended["state"] == "succeeded", ended
                if (number + 1) % max(1, scans // 10) == 0:
                    for name in names[-WAITING:]:
                        assert service.await_end(name)["state"] == "succeeded"
                    stands.append(stand(service, number + 1))
                    print(json.dumps(stands[-1]), flush=True)
            took = time.monotonic() - began
    result = {
        "run": describe_run(["python", "-m", "benchmarks.bench_soak", *sys.argv[1:]]),
        "work": {"scans": scans, "mm2": mm2},
        "measures": {},
        "yardsticks": {},
        "figures": {"seconds_a_scan": round(took / scans, 2), "stands": stands},
    }
    print(save_result(f"soak-{scans}", result))


if __name__ == "__main__":
    main()
