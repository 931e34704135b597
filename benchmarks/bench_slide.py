"""Seconds per stage and peak memory of `smearscan scan` on a rendered slide.

python -m benchmarks.bench_slide [--mm2 2] [--leukocytes 200] [--runs 3]

Each run is a process of its own, as a user starts it. The stage times are the report's own; the
memory is the kernel's figure for the finished process, weights included. The machine's speed
drifts, so compare runs of one call only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.record import describe_run, save_result
from worker.demo import write_demo_slide

SMEARSCAN = Path(sys.executable).with_name("smearscan")


def scan_once(slide: Path, out: Path, *, slide_options: list[str]) -> dict[str, Any]:
    """Scan in a child process; its report, wall seconds and peak resident memory (MB)."""
    command = [str(SMEARSCAN), "scan", str(slide), "--out", str(out), "--json", *slide_options]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"smearscan scan failed with exit code {child.returncode}")
    report = json.loads(printed)
    return {
        "wall_s": round(time.perf_counter() - start, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "stages_s": report["timings"],
        "cells": report["n_cells"],
        "area_mm2": report["region"]["area_mm2"],
        "megapixels": report["slide"]["width"] * report["slide"]["height"] / 1e6,
    }


def main() -> None:
    """Render the slide once, scan it several times, print and save the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mm2", type=float, default=2.0)
    parser.add_argument("--leukocytes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--region", default="monolayer", choices=["monolayer", "all"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tiff"
        write_demo_slide(slide, mm2=options.mm2, seed=1, leukocytes=options.leukocytes)
        run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
        runs = [
            scan_once(slide, Path(folder) / "out", slide_options=["--region", options.region])
            for _ in range(options.runs)
        ]
    result = {"run": run, "options": vars(options), "runs": runs}
    path = save_result(f"slide-{options.mm2:g}mm2-{options.region}", result)
    first = runs[0]
    print(
        f"{options.mm2:g} mm², {first['megapixels']:.0f} Mpx, {first['area_mm2']:.2f} mm² counted,"
        f" {first['cells']} cells; median of {len(runs)} runs, {run['cpu']}, {run['cpus']} CPUs,"
        f" commit {run['commit']}"
    )
    for stage in first["stages_s"]:
        print(f"  {stage:<12} {median(r['stages_s'][stage] for r in runs):8.2f} s")
    print(f"  {'process':<12} {median(r['wall_s'] for r in runs):8.2f} s")
    print(f"  {'peak memory':<12} {max(r['peak_mb'] for r in runs):8d} MB (largest)")
    print(f"saved {path}")


if __name__ == "__main__":
    main()
