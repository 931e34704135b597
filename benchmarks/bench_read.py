"""Reading 29 µm patches: ours against other readers and against bare JPEG decoding.

python -m benchmarks.bench_read [--mm2 2] [--patches 200] [--rounds 7] [--quick]

All readers read the same centres of the same slide, one after the other in every round. A round
opens the slide anew, so no reader has a decoded tile when its clock starts; the file is in the
page cache for all alike. Opening is not timed.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Case, Work, run_rounds
from benchmarks.readers import (
    HAS_THREADS,
    RawTiles,
    Reader,
    read_openslide,
    read_ours,
    read_tiffslide,
)
from benchmarks.record import describe_run, save_result
from benchmarks.slides import PATCH_PX, Centres, demo_slide, dense_centres, sparse_centres
from benchmarks.spread import measure_spread, pair_ratios

OURS = "smearscan, 1 thread"
OURS_2 = "smearscan, 2 threads"
RAW = "libjpeg-turbo, each tile once"
REFERENCE = "OpenSlide"


def list_readers() -> dict[str, Reader]:
    """The readers that are there, by name."""
    readers: dict[str, Reader] = {OURS: read_ours(1)}
    if HAS_THREADS:
        readers[OURS_2] = read_ours(2)
    return readers | {REFERENCE: read_openslide, "TiffSlide": read_tiffslide}


def read_all(reader: Reader, path: Path, centres: Centres) -> NDArray[np.uint8]:
    """All patches in the order of their centres; a patch that is missing is an error."""
    patches = np.zeros((len(centres), PATCH_PX, PATCH_PX, 3), np.uint8)
    seen = np.zeros(len(centres), np.bool_)
    with reader(path, centres) as read:
        for index, patch in read():
            patches[index] = patch
            seen[index] = True
    if not seen.all():
        raise SystemExit(f"{int((~seen).sum())} of {len(centres)} patches were not read")
    return patches


@contextmanager
def _drain(reader: Reader, path: Path, centres: Centres) -> Iterator[Work]:
    with reader(path, centres) as read:
        yield lambda: sum(1 for _ in read())


def compare_pixels(
    readers: dict[str, Reader], path: Path, centres: Centres
) -> dict[str, dict[str, float]]:
    """How far each reader's pixels lie from OpenSlide's, 0–255."""
    reference = read_all(readers[REFERENCE], path, centres)
    found = {}
    for name, reader in readers.items():
        away = np.abs(read_all(reader, path, centres).astype(np.int16) - reference)
        found[name] = {"max": int(away.max()), "mean": round(float(away.mean()), 4)}
    return found


def measure(path: Path, centres: Centres, rounds: int) -> dict[str, Any]:
    """One list of centres: every reader's seconds and pixels."""
    readers = list_readers()
    pixels = compare_pixels(readers, path, centres)
    raw = RawTiles(path, centres)
    cases = [Case(name, partial(_drain, reader, path, centres)) for name, reader in readers.items()]
    measured = run_rounds([*cases, Case(RAW, raw.prepare)], rounds)
    return {
        "patches": len(centres),
        "tiles": raw.count,
        "tile_px": raw.tile_px,
        "megapixels": raw.megapixels,
        "differs_from_openslide": pixels,
        "cases": {
            name: {"wall_s": list(times.wall_s), "cpu_s": list(times.cpu_s)}
            for name, times in measured.items()
        },
    }


def show(title: str, result: dict[str, Any]) -> None:
    """Print a list's table."""
    patches, megapixels = result["patches"], result["megapixels"]
    ours = result["cases"][OURS]["wall_s"]
    print(f"\n{title}: {patches} patches, {result['tiles']} tiles of {result['tile_px']} px")
    print(f"  {'':<30}  ms/patch  patches/s   Mpx/s  cores  off by  its time / ours, paired")
    for name, times in result["cases"].items():
        seconds = measure_spread(times["wall_s"]).median
        cores = sum(times["cpu_s"]) / sum(times["wall_s"])
        ratio = measure_spread(pair_ratios(times["wall_s"], ours))
        off = result["differs_from_openslide"].get(name, {}).get("max", "")
        print(
            f"  {name:<30} {1000 * seconds / patches:9.3f} {patches / seconds:10.0f}"
            f" {megapixels / seconds:7.0f} {cores:6.2f} {off:>7}  {ratio}"
        )


def main() -> None:
    """Measure both lists, print and save them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mm2", type=float, default=2.0)
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    slide = demo_slide(options.mm2, leukocytes=100 * round(options.mm2))
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    lists = {
        "sparse, the slide's own cells": sparse_centres(slide.truth, options.patches),
        "dense, a cluster": dense_centres(slide.truth, options.patches),
    }
    results = {}
    for title, centres in lists.items():
        results[title] = measure(slide.path, centres, options.rounds)
        show(title, results[title])
    path = save_result(f"read-{options.mm2:g}mm2", {"run": run, "lists": results})
    print(f"saved {path}")


if __name__ == "__main__":
    main()
