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
from typing import Final, Self

import numpy as np

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region
from worker.slide.protocol import SlideInfo
from worker.slide.pyramid import TiledLevel, TileSource, choose_level
from worker.slide.read_plan import ReadPlan, TileRect
from worker.slide.resampling import Taps, plan_taps, resample
from worker.slide.tile_cache import Pixels, TileCache, TileKey

CACHE_BYTES: Final = 128 << 20
"""Decoded tiles kept: a row of 256 px tiles across 170,000 px."""
AHEAD_BYTES: Final = 16 << 20
"""Results read before they are asked for: 34 patches of 400 px, two batches."""
PLANNED_REGIONS: Final = 16384
"""Regions planned together; bounds the plan of a slide with more."""
LONGEST_RUN: Final = 8
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
        self._check_request(region, um_per_px)
        level = self._choose_level(source, um_per_px)
        out = self._allocate(region, um_per_px)
        load = partial(_load, source, None)
        self._read(load, source.levels[level], level, region, um_per_px, out)
        return out

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
        for region in regions:
            self._check_request(region, um_per_px)
        level = self._choose_level(source, um_per_px)

        def allocate(index: int) -> Pixels:
            return self._allocate(regions[index], um_per_px)

        return self._read_planned(source, level, regions, um_per_px, place or allocate)

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

    def _check_request(self, region: Region, um_per_px: float) -> None:
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
        level: int,
        regions: Sequence[Region],
        um_per_px: float,
        place: Callable[[int], Pixels],
    ) -> Iterator[tuple[int, Pixels | RegionUnreadable]]:
        pool = self._pool = self._pool or ThreadPoolExecutor(self._threads, "slide")
        for first in range(0, len(regions), PLANNED_REGIONS):
            planned = regions[first : first + PLANNED_REGIONS]
            plan = ReadPlan(planned, level, source.levels[level])
            ahead = self._count_ahead(planned, um_per_px)
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
                    tasks = [(i, planned[i], place(first + i)) for i in run]
                    future = pool.submit(self._attempt, source, plan, tasks, um_per_px)
                    started.append((numbers, future))
                    waiting += len(run)
                while started:
                    done, future = started.popleft()
                    yield from zip(done, future.result(), strict=True)
            finally:
                for _, future in started:
                    future.cancel()

    def _count_ahead(self, regions: Sequence[Region], um_per_px: float) -> int:
        """How many results may wait or be in the making."""
        sizes = (region.output_size(self._info.um_per_px, um_per_px) for region in regions)
        largest = max(3 * size.width * size.height for size in sizes)
        return max(2 * self._threads, AHEAD_BYTES // largest)

    def _attempt(
        self,
        source: TileSource,
        plan: ReadPlan,
        tasks: list[tuple[int, Region, Pixels]],
        um_per_px: float,
    ) -> list[Pixels | RegionUnreadable]:
        """Read regions of a plan, each with its index and the array it goes to."""
        load = partial(_load, source, plan)
        found: list[Pixels | RegionUnreadable] = []
        for index, region, out in tasks:
            try:
                self._read(load, source.levels[plan.level], plan.level, region, um_per_px, out)
                found.append(out)
            except RegionUnreadable as err:
                found.append(err)
            finally:
                self._tiles.discard(plan.finish(index))
        return found

    def _allocate(self, region: Region, um_per_px: float) -> Pixels:
        size = region.output_size(self._info.um_per_px, um_per_px)
        return np.empty((size.height, size.width, 3), np.uint8)

    def _read(
        self,
        load: Callable[[TileKey, int], Pixels],
        grid: TiledLevel,
        level: int,
        region: Region,
        um_per_px: float,
        out: Pixels,
    ) -> None:
        step = um_per_px / self._info.um_per_px / grid.downsample
        block = max(1, int(BLOCK_PX / max(step, 1)))
        columns = list(_plan_blocks(region.x / grid.downsample, step, out.shape[1], block))
        rows = list(_plan_blocks(region.y / grid.downsample, step, out.shape[0], block))
        bottom = min(rows[-1][1].stop, grid.size.height)
        for y, row_taps in rows:
            for x, column_taps in columns:
                rect = TileRect.within(
                    column_taps.first, row_taps.first, column_taps.stop, row_taps.stop, level, grid
                )
                tiles = self._tiles.fetch(rect.needs(bottom), load)
                part = out[y : y + row_taps.count, x : x + column_taps.count]
                if row_taps.is_copy and column_taps.is_copy:
                    _assemble(part, tiles, grid, row_taps.first, column_taps.first)
                    continue
                shape = row_taps.stop - row_taps.first, column_taps.stop - column_taps.first, 3
                window = np.empty(shape, np.uint8)
                _assemble(window, tiles, grid, row_taps.first, column_taps.first)
                part[...] = resample(window, row_taps, column_taps)


def _load(source: TileSource, plan: ReadPlan | None, key: TileKey, rows: int) -> Pixels:
    """A tile, as far down as the region at hand or any other of the plan needs it."""
    planned = rows if plan is None else max(rows, plan.px_rows(key))
    return source.read_tile(key.level, key.column, key.row, planned)


def _assemble(
    window: Pixels, tiles: dict[TileKey, Pixels], grid: TiledLevel, top: int, left: int
) -> None:
    """Fill a window of a level, whose first px is (left, top), from tiles; white beyond it."""
    bottom, right = top + window.shape[0], left + window.shape[1]
    if min(top, left) < 0 or right > grid.size.width or bottom > grid.size.height:
        window.fill(255)
    for key, tile in tiles.items():
        x, y = key.column * grid.tile.width, key.row * grid.tile.height
        x0, x1 = max(left, x), min(right, x + tile.shape[1])
        y0, y1 = max(top, y), min(bottom, y + tile.shape[0])
        window[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]


def _plan_blocks(start: float, step: float, count: int, block: int) -> Iterator[tuple[int, Taps]]:
    """Taps of `count` output px in runs of at most `block`, each with its first output px."""
    for first in range(0, count, block):
        yield first, plan_taps(start + first * step, step, min(block, count - first))
