"""The first steps of a cross-validation on a folder shaped like the paper's data set.

python -m benchmarks.bench_training [--recipe matek2019] [--steps 8] [--share 1]

Drawings stand in for the 18,365 crops, so nothing is learnt: the time of preparing, of a step, of
an epoch as projected from it, and the peak memory of each command are what is measured.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.lmu_shaped import make_lmu_shaped
from benchmarks.process import run_measured
from benchmarks.record import describe_run, save_result
from benchmarks.slides import CACHE
from models.training.data.annotations import EXPECTED_COUNTS

SMEARSCAN: Final = Path(sys.executable).with_name("smearscan")


def main() -> None:
    """Fabricate, prepare, try; print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="matek2019")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--share", type=float, default=1.0, help="of each class's 18,365 cells")
    options = parser.parse_args()
    counts = {c: max(5, round(n * options.share)) for c, n in EXPECTED_COUNTS.items()}
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    print(f"drawing {sum(counts.values())} cells, unless they are there …", flush=True)
    root = make_lmu_shaped(CACHE / f"lmu-{sum(counts.values())}", counts)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        manifest, out = Path(folder) / "cells.csv", Path(folder) / "crossval"
        train = [str(SMEARSCAN), "train"]
        prepare = [*train, "prepare", "--lmu", str(root), "--out", str(manifest)]
        if options.share < 1.0:
            prepare.append("--partial")
        prepared = run_measured(prepare)
        print(f"prepare   {prepared.wall_s:8.1f} s, peak {prepared.peak_mb} MB", flush=True)
        crossval = [*train, "crossval", "--manifest", str(manifest), "--root", str(root)]
        crossval += ["--recipe", options.recipe, "--out", str(out), "--fold", "1"]
        tried = run_measured([*crossval, "--try", str(options.steps)])
        promised: dict[str, Any] = json.loads((out / "fold-1" / "projection.json").read_text())
    print(f"crossval  {tried.wall_s:8.1f} s for {options.steps} steps, peak {tried.peak_mb} MB")
    print("          " + ", ".join(f"{name} {value}" for name, value in promised.items()))
    result = {
        "run": run,
        "work": {"recipe": options.recipe, "cells": sum(counts.values())},
        "measures": {
            "prepare": {"unit": "s", "values": [prepared.wall_s]},
            "prepare, peak memory": {"unit": "MB", "values": [prepared.peak_mb]},
            "a step": {"unit": "s", "values": [promised["step_s"]]},
            "an epoch, projected": {"unit": "h", "values": [promised["epoch_h"]]},
            "training, peak memory": {"unit": "MB", "values": [tried.peak_mb]},
        },
        "details": promised,
    }
    title = f"training-{options.recipe}-{sum(counts.values())}"
    print(f"saved {save_result(title, result).name}")


if __name__ == "__main__":
    main()
