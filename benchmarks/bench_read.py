"""Reading 29 µm patches: ours against other readers and against bare JPEG decoding.

python -m benchmarks.bench_read [--mm2 2] [--patches 200] [--rounds 7] [--no-rivals]

All readers read the same centres of the same slide, one after the other in every round. A round
opens the slide anew, so no reader has a decoded tile when its clock starts; the file is in the
page cache for all alike. Opening stands apart: ours hashes the file and checks its directories.
CPU time is that of all threads: where others use the machine, it says more than the wall clock.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Case, Work, run_rounds
from benchmarks.readers import (
    RawTiles,
    Reader,
    read_openslide,
    read_ours,
    read_tiffslide,
)
from benchmarks.record import as_measures, describe_run, save_result
from benchmarks.rival import Rival, running_rivals
from benchmarks.slides import PATCH_PX, Centres, demo_slide, dense_centres, sparse_centres
from benchmarks.spread import measure_spread, pair_ratios

OURS: Final = "smearscan, 1 thread"
OURS_2: Final = "smearscan, 2 threads"
RAW: Final = "libjpeg-turbo, each tile once"
REFERENCE: Final = "OpenSlide"
RIVALS: Final = {"TIAToolbox": "tiatoolbox", "fastslide": "fastslide"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A reader: to be timed, to be looked at, and whose CPU time it uses."""

    timed: Reader
    visible: Reader
    cpu_clock: Callable[[], float] = process_time


def list_contestants(rivals: dict[str, Rival]) -> dict[str, Contestant]:
    """The readers that are there, by name."""
    here: dict[str, Reader] = {
        OURS: read_ours(1),
        OURS_2: read_ours(2),
        REFERENCE: read_openslide,
        "TiffSlide": read_tiffslide,
    }
    return {name: Contestant(reader, reader) for name, reader in here.items()} | {
        name: Contestant(rival.prepare, rival.prepare_visible, rival.cpu_s)
        for name, rival in rivals.items()
    }


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
    contestants: dict[str, Contestant], path: Path, centres: Centres
) -> dict[str, dict[str, float]]:
    """How far each reader's pixels lie from OpenSlide's, 0–255."""
    reference = read_all(contestants[REFERENCE].visible, path, centres).astype(np.int16)
    found = {}
    for name, contestant in contestants.items():
        away = np.abs(read_all(contestant.visible, path, centres) - reference)
        found[name] = {"max": int(away.max()), "mean": round(float(away.mean()), 4)}
    return found


def measure(
    path: Path, centres: Centres, rounds: int, contestants: dict[str, Contestant]
) -> dict[str, Any]:
    """One list of centres: every reader's seconds and pixels."""
    pixels = compare_pixels(contestants, path, centres)
    raw = RawTiles(path, centres)
    cases = [
        Case(name, partial(_drain, contestant.timed, path, centres), contestant.cpu_clock)
        for name, contestant in contestants.items()
    ]
    return {
        "patches": len(centres),
        "tiles": raw.count,
        "tile_px": raw.tile_px,
        "megapixels": raw.megapixels,
        "differs_from_openslide": pixels,
        "measured": run_rounds([*cases, Case(RAW, raw.prepare)], rounds),
    }


def show(title: str, result: dict[str, Any]) -> None:
    """Print a list's table."""
    patches, megapixels, measured = result["patches"], result["megapixels"], result["measured"]
    ours = measured[OURS]
    print(
        f"\n{title}: {patches} patches, {result['tiles']} tiles of {result['tile_px']} px",
        flush=True,
    )
    print(
        f"  {'':<30}  ms/patch  patches/s   Mpx/s  cores  open s  off by"
        f"  {'its time / ours':<20} its CPU time / ours"
    )
    for name, times in measured.items():
        seconds = measure_spread(times.wall_s).median
        ratio = str(measure_spread(pair_ratios(times.wall_s, ours.wall_s)))
        cpu = measure_spread(pair_ratios(times.cpu_s, ours.cpu_s))
        off = result["differs_from_openslide"].get(name, {}).get("max", "")
        print(
            f"  {name:<30} {1000 * seconds / patches:9.3f} {patches / seconds:10.0f}"
            f" {megapixels / seconds:7.0f} {times.cores:6.2f}"
            f" {measure_spread(times.prepare_s).median:7.3f} {off:>7}  {ratio:<20} {cpu}"
        )
    raw, two = measured[RAW], measured[OURS_2]
    print(
        "  share of the raw limit, its time / ours:"
        f" {measure_spread(pair_ratios(raw.wall_s, ours.wall_s))}, CPU time"
        f" {measure_spread(pair_ratios(raw.cpu_s, ours.cpu_s))}"
    )
    print(
        "  two threads, one thread's time / theirs:"
        f" {measure_spread(pair_ratios(ours.wall_s, two.wall_s))}"
    )


def main() -> None:
    """Measure both lists, print and save them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mm2", type=float, default=2.0)
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-rivals", action="store_true", help="without TIAToolbox and fastslide")
    options = parser.parse_args()
    slide = demo_slide(options.mm2, leukocytes=round(100 * options.mm2))
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    lists = {
        "sparse": sparse_centres(slide.truth, options.patches),
        "dense": dense_centres(slide.truth, options.patches),
    }
    measures: dict[str, Any] = {}
    details: dict[str, Any] = {}
    with ExitStack() as stack:
        rivals = {} if options.no_rivals else stack.enter_context(running_rivals(RIVALS))
        contestants = list_contestants(rivals)
        for title, centres in lists.items():
            result = measure(slide.path, centres, options.rounds, contestants)
            show(title, result)
            measures |= as_measures(result.pop("measured"), prefix=f"{title}: ", ours="smearscan")
            details[title] = result
    work = {"slide_sha256": slide.sha256, "patches": options.patches, "patch_px": PATCH_PX}
    yardsticks = {f"{title}: ": f"{title}: {RAW}" for title in lists}
    saved = save_result(
        f"read-{options.mm2:g}mm2",
        {
            "run": run,
            "work": work,
            "measures": measures,
            "yardsticks": yardsticks,
            "details": details,
        },
    )
    print(f"\nsaved {saved.name}")


if __name__ == "__main__":
    main()
