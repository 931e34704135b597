"""A `Slide` made of tiles: any region at any scale, read by several threads.

Memory, whatever the slide's size: `CACHE_BYTES` of decoded tiles; `AHEAD_BYTES` of results that
wait for their reader, or two per thread if those are larger; and per thread the result and the
tiles it works on.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.protocol import SlideInfo
from worker.slide.pyramid import TiledLevel, TileSource, choose_level
from worker.slide.read_plan import ReadPlan
from worker.slide.resampling import Taps, plan_taps, resample
from worker.slide.tile_cache import Pixels, TileCache, TileKey
from worker.slide.window import Needs, Window, fill_windows

CACHE_BYTES: Final = 128 << 20
"""Decoded tiles kept: a row of 256 px tiles across 170,000 px."""
AHEAD_BYTES: Final = 32 << 20
"""Results read before they are asked for: 69 patches of 400 px."""
PLANNED_REGIONS: Final = 16384
"""Regions planned together; bounds the plan of a slide with more."""
LONGEST_RUN: Final = 16
"""Neighbouring regions that one thread reads in a go: the threads hand over less often, and fewer
tiles are needed by two of them at once."""
RUNS_PER_THREAD: Final = 4
"""At least so many, where regions are few, so that no thread is left alone with the last ones."""
MAX_OUTPUT_PX: Final = 1 << 28
"""Largest result of one read: 768 MiB of RGB."""
BLOCK_PX: Final = 512
"""Px per side, of source or result, that are resampled at once; measured fastest of 256 to 4096."""
MAX_STEP: Final = 4096
"""Level px per output px: bounds what one output px reads."""
LEVEL_TOLERANCE: Final = 0.01
"""A level this much coarser than asked still counts as fine enough."""


class TiledSlide:
    """Implements `Slide` over a `TileSource`.

    Args:
        info: of the slide.
        source: whose tiles are read, by several threads at once.
        threads: that read in `read_each`.
        cache_bytes: decoded tiles kept.
    """

    def __init__(
        self,
        info: SlideInfo,
        source: TileSource,
        *,
        threads: int = 1,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._info = info
        self._source: TileSource | None = source
        self._tiles = TileCache(cache_bytes)
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    @property
    def info(self) -> SlideInfo:
        """Size, scale and provenance."""
        return self._info

    def read(self, region: Region, um_per_px: float) -> Pixels:
        """Pixels of a region at a physical scale; see `Slide.read`.

        Raises:
            RegionUnreadable: these pixels cannot be decoded. The slide stays usable.
            ValueError: the slide is closed; region or scale are not positive and finite, or the
                result would be larger than `MAX_OUTPUT_PX`.
            RuntimeError: the slide was opened by another process.
        """
        source = self._usable_source()
        size = self._check_request(region, um_per_px)
        level = self._choose_level(source, um_per_px)
        scale = _Scale(level, source.levels[level], um_per_px / self._info.um_per_px)
        window = Window.copied(region, scale.step, size, scale.grid)
        needs = window.needs(level, scale.grid) if window else {}  # else found block by block
        task = _Task(region, window, needs, _allocate(size))
        (found,) = self._fill(partial(_load, source, None), scale, [task])
        if isinstance(found, RegionUnreadable):
            raise found
        return found

    def read_each(
        self,
        regions: Sequence[Region],
        um_per_px: float,
        place: Callable[[int], Pixels] | None = None,
    ) -> Iterator[tuple[int, Pixels | RegionUnreadable]]:
        """Many regions, each tile decoded about once; see `Slide.read_each`.

        Raises:
            ValueError, RuntimeError: as `read`, before anything is read.
        """
        source = self._usable_source()
        sizes = [self._check_request(region, um_per_px) for region in regions]
        level = self._choose_level(source, um_per_px)
        scale = _Scale(level, source.levels[level], um_per_px / self._info.um_per_px)
        return self._read_planned(
            source, scale, regions, sizes, place or (lambda index: _allocate(sizes[index]))
        )

    def close(self) -> None:
        """Release the file, once its threads have stopped. Further reads are an error."""
        if self._pool is not None and os.getpid() == self._process:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        if self._source is not None:
            self._source.close()
        self._source = None
        self._tiles.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _usable_source(self) -> TileSource:
        if self._source is None:
            raise ValueError("the slide is closed")
        if os.getpid() != self._process:
            raise RuntimeError(
                "a slide must be opened by the process that reads it, after the fork"
            )
        return self._source

    def _check_request(self, region: Region, um_per_px: float) -> Size:
        """Px of the result."""
        numbers = (region.x, region.y, region.width, region.height, um_per_px)
        if not all(map(math.isfinite, numbers)) or min(region.width, region.height, um_per_px) <= 0:
            raise ValueError(
                f"not a region and scale that can be read: {region}, {um_per_px} µm/px"
            )
        size = region.output_size(self._info.um_per_px, um_per_px)
        if size.width * size.height > MAX_OUTPUT_PX:
            raise ValueError(
                f"the region has {size.width} × {size.height} px at {um_per_px:g} µm/px, one read"
                f" at most {MAX_OUTPUT_PX}: read it in parts"
            )
        return size

    def _choose_level(self, source: TileSource, um_per_px: float) -> int:
        step_l0 = um_per_px / self._info.um_per_px
        level = choose_level(source.levels, step_l0, LEVEL_TOLERANCE)
        step = step_l0 / source.levels[level].downsample
        if step > MAX_STEP:
            raise ValueError(f"{um_per_px:g} µm/px is {step:.0f} times coarser than any level")
        return level

    def _read_planned(
        self,
        source: TileSource,
        scale: "_Scale",
        regions: Sequence[Region],
        sizes: Sequence[Size],
        place: Callable[[int], Pixels],
    ) -> Iterator[tuple[int, Pixels | RegionUnreadable]]:
        pool = self._pool = self._pool or ThreadPoolExecutor(self._threads, "slide")
        for first in range(0, len(regions), PLANNED_REGIONS):
            last = min(first + PLANNED_REGIONS, len(regions))
            planned = [scale.plan(regions[i], sizes[i]) for i in range(first, last)]
            plan = ReadPlan([needs for _, needs in planned])
            ahead = self._count_ahead(sizes[first:last])
            fair = len(planned) // (RUNS_PER_THREAD * self._threads)
            longest = max(1, min(LONGEST_RUN, fair, ahead // (2 * self._threads)))
            started: deque[tuple[list[int], Future[list[Pixels | RegionUnreadable]]]] = deque()
            waiting = 0
            try:
                for run in plan.runs(longest):
                    while waiting + len(run) > ahead:
                        done, future = started.popleft()
                        waiting -= len(done)
                        yield from zip(done, future.result(), strict=True)
                    numbers = [first + index for index in run]
                    tasks = [_Task(regions[first + i], *planned[i], place(first + i)) for i in run]
                    future = pool.submit(self._attempt, source, scale, plan, run, tasks)
                    started.append((numbers, future))
                    waiting += len(run)
                while started:
                    done, future = started.popleft()
                    yield from zip(done, future.result(), strict=True)
            finally:
                for _, future in started:
                    future.cancel()

    def _count_ahead(self, sizes: Sequence[Size]) -> int:
        """How many results may wait or be in the making."""
        largest = max(3 * size.width * size.height for size in sizes)
        return max(2 * self._threads, AHEAD_BYTES // largest)

    def _attempt(
        self,
        source: TileSource,
        scale: "_Scale",
        plan: ReadPlan,
        run: Sequence[int],
        tasks: Sequence["_Task"],
    ) -> list[Pixels | RegionUnreadable]:
        """Read a run of a plan."""
        try:
            return self._fill(partial(_load, source, plan), scale, tasks)
        finally:
            self._tiles.discard(plan.finish(run))

    def _fill(
        self,
        load: Callable[[TileKey, int], Pixels],
        scale: "_Scale",
        tasks: Sequence["_Task"],
    ) -> list[Pixels | RegionUnreadable]:
        """Read regions into their arrays, those that are copied all at once."""
        copied = [(task.window, task.needs, task.out) for task in tasks if task.window is not None]
        failed = iter(fill_windows(copied, self._tiles, load, scale.grid))
        return [
            (self._resample(load, scale, task) if task.window is None else next(failed)) or task.out
            for task in tasks
        ]

    def _resample(
        self, load: Callable[[TileKey, int], Pixels], scale: "_Scale", task: "_Task"
    ) -> RegionUnreadable | None:
        """Read a region block by block; why it could not be read, or None."""
        grid, step, (height, width, _) = scale.grid, scale.step, task.out.shape
        block = max(1, int(BLOCK_PX / max(step, 1)))
        columns = list(_plan_blocks(task.region.x / grid.downsample, step, width, block))
        rows = list(_plan_blocks(task.region.y / grid.downsample, step, height, block))
        bottom = rows[-1][1].stop
        for y, down in rows:
            for x, across in columns:
                window = Window(
                    across.first, down.first, across.stop - across.first, down.stop - down.first
                )
                pixels = np.empty((window.height, window.width, 3), np.uint8)
                wanted = [(window, window.needs(scale.level, grid, bottom), pixels)]
                (failed,) = fill_windows(wanted, self._tiles, load, grid)
                if failed is not None:
                    return failed
                part = task.out[y : y + down.count, x : x + across.count]
                part[...] = resample(pixels, down, across)
        return None


class _Scale:
    """What regions are read from: a level, and how far apart in it px of a result lie."""

    def __init__(self, level: int, grid: TiledLevel, step_l0: float) -> None:
        self.level, self.grid, self.step = level, grid, step_l0 / grid.downsample

    def plan(self, region: Region, size: Size) -> tuple[Window | None, Needs]:
        """The window that is copied, or None for resampling; and the tiles for either."""
        copied = Window.copied(region, self.step, size, self.grid)
        window = copied or Window.around(region, self.grid)
        return copied, window.needs(self.level, self.grid)


class _Task(NamedTuple):
    """A region to read: the window that is copied if it is, its tiles, where it goes."""

    region: Region
    window: Window | None
    needs: Needs
    out: Pixels


def _load(source: TileSource, plan: ReadPlan | None, key: TileKey, rows: int) -> Pixels:
    """A tile, as far down as the region at hand or any other of the plan needs it."""
    planned = rows if plan is None else max(rows, plan.px_rows(key))
    return source.read_tile(key.level, key.column, key.row, planned)


def _allocate(size: Size) -> Pixels:
    return np.empty((size.height, size.width, 3), np.uint8)


def _plan_blocks(start: float, step: float, count: int, block: int) -> Iterator[tuple[int, Taps]]:
    """Taps of `count` output px in runs of at most `block`, each with its first output px."""
    for first in range(0, count, block):
        yield first, plan_taps(start + first * step, step, min(block, count - first))
