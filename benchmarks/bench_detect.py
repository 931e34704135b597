"""Finding the monolayer and its leukocytes on a rendered slide, on one thread and on two.

python -m benchmarks.bench_detect [--mm2 2] [--rounds 5]

A round opens the slide anew. Speed is level-0 px of the slide (monolayer) or of its countable
region (detection) per second; the share of reading is the time the work waits for pixels.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Case, Work, run_rounds
from benchmarks.record import as_measures, describe_run, save_result
from benchmarks.slides import demo_slide
from benchmarks.spread import measure_spread, pair_ratios
from models.allocator import keep_freed_memory
from models.catalogue import DEFAULT_DETECTOR
from models.detector import Detector
from service.contract.failure import RegionUnreadable
from worker.detection import detect_leukocytes
from worker.monolayer import map_monolayer
from worker.slide.geometry import Region
from worker.slide.opening import open_slide
from worker.slide.protocol import Slide, SlideInfo

Job = Callable[[Slide], object]


class WatchedSlide:
    """A `Slide` that adds up the seconds its reader waits for pixels."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.reading_s = 0.0

    @property
    def info(self) -> SlideInfo:
        """The slide's own."""
        return self._slide.info

    def read(self, region: Region, um_per_px: float) -> NDArray[np.uint8]:
        """The slide's own pixels."""
        start = time.perf_counter()
        try:
            return self._slide.read(region, um_per_px)
        finally:
            self.reading_s += time.perf_counter() - start

    def read_each(
        self,
        regions: Sequence[Region],
        um_per_px: float,
        place: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.uint8] | RegionUnreadable]]:
        """The slide's own pixels."""
        found = self._slide.read_each(regions, um_per_px, place)
        start = time.perf_counter()
        for index, pixels in found:
            self.reading_s += time.perf_counter() - start
            yield index, pixels
            start = time.perf_counter()
        self.reading_s += time.perf_counter() - start

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def _prepare(path: Path, job: Job, threads: int, reading_s: list[float]) -> Iterator[Work]:
    torch.set_num_threads(threads)
    with WatchedSlide(open_slide(path, threads=threads)) as slide:
        yield lambda: job(slide)
        reading_s.append(slide.reading_s)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mm2", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    demo = demo_slide(options.mm2, leukocytes=round(100 * options.mm2))
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    keep_freed_memory()
    detector = Detector.load(DEFAULT_DETECTOR, device="cpu")
    with open_slide(demo.path) as slide:
        found = map_monolayer(slide)
        info = slide.info
    areas = {
        "monolayer": info.size.width * info.size.height / 1e6,
        "detection": found.area_mm2 / info.um_per_px**2,
    }
    jobs: dict[str, Job] = {
        "monolayer": map_monolayer,
        "detection": partial(
            detect_leukocytes,
            region=found.region,
            detector=detector,
            background=found.stain.background,
            red_cell=found.stain.red_cell,
        ),
    }
    reading: dict[str, list[float]] = {}
    cases = []
    for name, job in jobs.items():
        for threads in (1, 2):
            title = f"{name}, {threads} thread{'s' * (threads > 1)}"
            reading[title] = []
            cases.append(Case(title, partial(_prepare, demo.path, job, threads, reading[title])))
    measured = run_rounds(cases, options.rounds)
    print(
        f"\n{options.mm2:g} mm², {areas['monolayer']:.0f} Mpx, {found.area_mm2:.2f} mm² countable"
    )
    print(f"  {'':<24}      s   Mpx/s  cores  reading")
    details: dict[str, Any] = {"reading_share": {}}
    for title, times in measured.items():
        seconds = measure_spread(times.wall_s).median
        share = median(pair_ratios(reading[title][-options.rounds :], times.wall_s))
        details["reading_share"][title] = round(share, 3)
        print(
            f"  {title:<24} {seconds:6.2f} {areas[title.split(',')[0]] / seconds:7.0f}"
            f" {times.cores:6.2f} {100 * share:6.0f} %"
        )
    result = {
        "run": run,
        "work": {"slide_sha256": demo.sha256},
        "measures": as_measures(measured),
        "details": details,
    }
    print(f"saved {save_result(f'detect-{options.mm2:g}mm2', result).name}")


if __name__ == "__main__":
    main()
