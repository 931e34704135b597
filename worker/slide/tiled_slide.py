"""A `Slide` made of tiles: any region at any scale, read by several threads.

Memory, whatever the slide's size: `CACHE_BYTES` of decoded tiles; `AHEAD_BYTES` of results that
wait for their reader, or two per thread if those are larger; and per thread the result and the
tiles it works on.
"""

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region
from worker.slide.protocol import SlideInfo
from worker.slide.pyramid import TileSource, choose_level
from worker.slide.read_plan import ReadPlan, TileRect
from worker.slide.resampling import Taps, plan_taps, resample
from worker.slide.tile_cache import TileCache, TileKey

CACHE_BYTES: Final = 128 << 20
"""Decoded tiles kept: a row of 256 px tiles across 170,000 px."""
AHEAD_BYTES: Final = 32 << 20
"""Results read before they are asked for: 69 patches of 400 px, two batches of a classifier."""
PLANNED_REGIONS: Final = 16384
"""Regions planned together; bounds the plan of a slide with more."""
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

    def read(self, region: Region, um_per_px: float) -> NDArray[np.uint8]:
        """Pixels of a region at a physical scale; see `Slide.read`.

        Raises:
            RegionUnreadable: these pixels cannot be decoded. The slide stays usable.
            ValueError: the slide is closed; region or scale are not positive and finite, or the
                result would be larger than `MAX_OUTPUT_PX`.
            RuntimeError: the slide was opened by another process.
        """
        source = self._usable_source()
        self._check_request(region, um_per_px)
        return self._read(source, self._choose_level(source, um_per_px), region, um_per_px)

    def read_each(
        self, regions: Sequence[Region], um_per_px: float
    ) -> Iterator[tuple[int, NDArray[np.uint8] | RegionUnreadable]]:
        """Many regions, each tile decoded about once; see `Slide.read_each`.

        Raises:
            ValueError, RuntimeError: as `read`, before anything is read.
        """
        source = self._usable_source()
        for region in regions:
            self._check_request(region, um_per_px)
        level = self._choose_level(source, um_per_px)
        return self._read_planned(source, level, regions, um_per_px)

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
        self, source: TileSource, level: int, regions: Sequence[Region], um_per_px: float
    ) -> Iterator[tuple[int, NDArray[np.uint8] | RegionUnreadable]]:
        pool = self._pool = self._pool or ThreadPoolExecutor(self._threads, "slide")
        for first in range(0, len(regions), PLANNED_REGIONS):
            planned = regions[first : first + PLANNED_REGIONS]
            plan = ReadPlan(planned, level, source.levels[level])
            ahead = self._count_ahead(planned, um_per_px)
            started: deque[tuple[int, Future[NDArray[np.uint8] | RegionUnreadable]]] = deque()
            try:
                for index in plan.order:
                    if len(started) == ahead:
                        ready, future = started.popleft()
                        yield first + ready, future.result()
                    future = pool.submit(
                        self._attempt, source, plan, index, planned[index], um_per_px
                    )
                    started.append((index, future))
                while started:
                    ready, future = started.popleft()
                    yield first + ready, future.result()
            finally:
                for _, future in started:
                    future.cancel()

    def _count_ahead(self, regions: Sequence[Region], um_per_px: float) -> int:
        """How many results may wait or be in the making."""
        sizes = (region.output_size(self._info.um_per_px, um_per_px) for region in regions)
        largest = max(3 * size.width * size.height for size in sizes)
        return max(2 * self._threads, AHEAD_BYTES // largest)

    def _attempt(
        self, source: TileSource, plan: ReadPlan, index: int, region: Region, um_per_px: float
    ) -> NDArray[np.uint8] | RegionUnreadable:
        try:
            return self._read(source, plan.level, region, um_per_px)
        except RegionUnreadable as err:
            return err
        finally:
            self._tiles.discard(plan.finish(index))

    def _read(
        self, source: TileSource, level: int, region: Region, um_per_px: float
    ) -> NDArray[np.uint8]:
        size = region.output_size(self._info.um_per_px, um_per_px)
        downsample = source.levels[level].downsample
        step = um_per_px / self._info.um_per_px / downsample
        block = max(1, int(BLOCK_PX / max(step, 1)))
        columns = list(_plan_blocks(region.x / downsample, step, size.width, block))
        rows = list(_plan_blocks(region.y / downsample, step, size.height, block))
        if len(columns) == len(rows) == 1:
            return self._read_block(source, level, rows[0][1], columns[0][1])
        out = np.empty((size.height, size.width, 3), np.uint8)
        for y, row_taps in rows:
            for x, column_taps in columns:
                part = self._read_block(source, level, row_taps, column_taps)
                out[y : y + row_taps.count, x : x + column_taps.count] = part
        return out

    def _read_block(
        self, source: TileSource, level: int, rows: Taps, columns: Taps
    ) -> NDArray[np.uint8]:
        grid = source.levels[level]
        top, bottom, left, right = rows.first, rows.stop, columns.first, columns.stop
        rect = TileRect.within(left, top, right, bottom, level, grid)
        tiles = self._tiles.fetch(rect, lambda key: _decode(source, key))
        window = np.empty((bottom - top, right - left, 3), np.uint8)
        if min(top, left) < 0 or right > grid.size.width or bottom > grid.size.height:
            window.fill(255)
        for key, tile in tiles.items():
            x, y = key.column * grid.tile.width, key.row * grid.tile.height
            x0, x1 = max(left, x), min(right, x + tile.shape[1])
            y0, y1 = max(top, y), min(bottom, y + tile.shape[0])
            window[y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                y0 - y : y1 - y, x0 - x : x1 - x
            ]
        return resample(window, rows, columns)


def _decode(source: TileSource, key: TileKey) -> NDArray[np.uint8]:
    return source.read_tile(key.level, key.column, key.row)


def _plan_blocks(start: float, step: float, count: int, block: int) -> Iterator[tuple[int, Taps]]:
    """Taps of `count` output px in runs of at most `block`, each with its first output px."""
    for first in range(0, count, block):
        yield first, plan_taps(start + first * step, step, min(block, count - first))
