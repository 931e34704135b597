"""Seconds per stage and peak memory of `smearscan scan` on a rendered slide.

python -m benchmarks.bench_slide [--mm2 2] [--leukocytes N] [--runs 3]

Each scan is a process of its own, as a user starts it. The stage times are the report's own; the
memory is the kernel's figure for the finished process, weights included. Reading the patches of
the cells it found is measured once more by itself, on two threads. Targets for 20 mm² are printed
as reached or not; nothing fails.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.harness import Case, Work, run_rounds
from benchmarks.process import run_measured
from benchmarks.readers import read_ours
from benchmarks.record import describe_run, save_result
from benchmarks.slides import Centres, demo_slide

SMEARSCAN: Final = Path(sys.executable).with_name("smearscan")
TARGET_MM2: Final = 20.0
FINDING_S: Final = 40.0
"""Monolayer and detection together, for `TARGET_MM2`."""
READING_MS: Final = 5.0
"""Reading one cell's patch, two cores."""
PEAK_MB: Final = 1500.0


def scan_once(slide: Path, out: Path, *, slide_options: list[str]) -> dict[str, Any]:
    """Scan in a child process; its report, wall seconds and peak resident memory (10⁶ bytes)."""
    finished = run_measured(
        [str(SMEARSCAN), "scan", str(slide), "--out", str(out), "--json", *slide_options]
    )
    report = json.loads(finished.printed)
    return {
        "wall_s": finished.wall_s,
        "peak_mb": finished.peak_mb,
        "stages_s": report["timings"],
        "cells": report["n_cells"],
        "area_mm2": report["region"]["area_mm2"],
        "megapixels": report["slide"]["width"] * report["slide"]["height"] / 1e6,
    }


def measure_reading(slide: Path, out: Path, rounds: int) -> tuple[int, list[float]]:
    """Cells of a finished scan, and the seconds that reading all their patches takes by itself."""
    with (out / "cells.csv").open(encoding="utf-8", newline="") as stream:
        centres: Centres = [
            (float(row["x_px"]), float(row["y_px"])) for row in csv.DictReader(stream)
        ]

    @contextmanager
    def prepare() -> Iterator[Work]:
        with read_ours(2)(slide, centres) as read:
            yield lambda: sum(1 for _ in read())

    return len(centres), list(run_rounds([Case("reading", prepare)], rounds)["reading"].wall_s)


def list_measures(runs: list[dict[str, Any]], cells: int, reading_s: list[float]) -> dict[str, Any]:
    """All figures by name, as a result file holds them."""
    values = {stage: [run["stages_s"][stage] for run in runs] for stage in runs[0]["stages_s"]}
    values["monolayer + detecting"] = [
        run["stages_s"]["monolayer"] + run["stages_s"]["detecting"] for run in runs
    ]
    values["process"] = [run["wall_s"] for run in runs]
    measures = {name: {"unit": "s", "values": seconds} for name, seconds in values.items()}
    if cells:
        per_cell = [round(1000 * seconds / cells, 3) for seconds in reading_s]
        measures["reading a patch"] = {"unit": "ms", "values": per_cell}
    measures["peak memory"] = {"unit": "MB", "values": [run["peak_mb"] for run in runs]}
    return measures


def judge_targets(measures: dict[str, Any]) -> list[str]:
    """Each target with what was measured, in words."""
    limits = {
        "monolayer + detecting": FINDING_S,
        "reading a patch": READING_MS,
        "peak memory": PEAK_MB,
    }
    lines = []
    for name, limit in limits.items():
        if name in measures:
            value, unit = max(measures[name]["values"]), measures[name]["unit"]
            if name != "peak memory":
                value = median(measures[name]["values"])
            reached = "reached" if value <= limit else "NOT reached"
            lines.append(f"{name} {value:.4g} {unit}, at most {limit:g} {unit}: {reached}")
    return lines


def main() -> None:
    """Scan several times, print and save the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mm2", type=float, default=2.0)
    parser.add_argument("--leukocytes", type=int, help="100 a mm² by default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--region", default="monolayer", choices=["monolayer", "all"])
    options = parser.parse_args()
    planted = options.leukocytes or round(100 * options.mm2)
    slide = demo_slide(options.mm2, leukocytes=planted)
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        runs = [
            scan_once(slide.path, out, slide_options=["--region", options.region])
            for _ in range(options.runs)
        ]
        cells, reading_s = measure_reading(slide.path, out, options.runs)
    measures = list_measures(runs, cells, reading_s)
    first = runs[0]
    print(
        f"\n{options.mm2:g} mm², {first['megapixels']:.0f} Mpx, {first['area_mm2']:.2f} mm²"
        f" counted, {first['cells']} cells; median of {len(runs)} scans, {run['cpu']},"
        f" {run['cpus']} CPUs, patches read on 2 threads,"
        f" commit {run['commit']}"
    )
    for name, measure in measures.items():
        print(f"  {name:<22} {median(measure['values']):9.2f} {measure['unit']}")
    if options.mm2 == TARGET_MM2:
        print(*judge_targets(measures), sep="\n")
    result = {
        "run": run,
        "work": {"slide_sha256": slide.sha256, "region": options.region},
        "measures": measures,
        "details": {"scans": runs},
    }
    print(f"saved {save_result(f'slide-{options.mm2:g}mm2-{options.region}', result).name}")


if __name__ == "__main__":
    main()
