"""A `Slide` made of tiles: any region at any scale, each compressed tile decoded about once."""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from worker.slide.geometry import Region
from worker.slide.protocol import SlideInfo
from worker.slide.pyramid import TileSource, choose_level
from worker.slide.resampling import Taps, plan_taps, resample

CACHE_BYTES: Final = 128 << 20
"""Decoded tiles kept: a row of 256 px tiles across 170,000 px."""
MAX_OUTPUT_PX: Final = 1 << 28
"""Largest result of one read: 768 MiB of RGB."""
BLOCK_PX: Final = 512
"""Px per side, of source or result, that are resampled at once; measured fastest of 256 to 4096."""
MAX_STEP: Final = 4096
"""Level px per output px: bounds what one output px reads."""
LEVEL_TOLERANCE: Final = 0.01
"""A level this much coarser than asked still counts as fine enough."""


class TiledSlide:
    """Implements `Slide` over a `TileSource`."""

    def __init__(self, info: SlideInfo, source: TileSource, cache_bytes: int = CACHE_BYTES) -> None:
        self._info = info
        self._source: TileSource | None = source
        self._tiles = _TileCache(cache_bytes)
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
        _check_request(region, um_per_px)
        size = region.output_size(self._info.um_per_px, um_per_px)
        if size.width * size.height > MAX_OUTPUT_PX:
            raise ValueError(
                f"the region has {size.width} × {size.height} px at {um_per_px:g} µm/px, one read"
                f" at most {MAX_OUTPUT_PX}: read it in parts"
            )
        step_l0 = um_per_px / self._info.um_per_px
        level = choose_level(source.levels, step_l0, LEVEL_TOLERANCE)
        downsample = source.levels[level].downsample
        step = step_l0 / downsample
        if step > MAX_STEP:
            raise ValueError(f"{um_per_px:g} µm/px is {step:.0f} times coarser than any level")
        out = np.empty((size.height, size.width, 3), np.uint8)
        block = max(1, int(BLOCK_PX / max(step, 1)))
        columns = list(_plan_blocks(region.x / downsample, step, size.width, block))
        for y, rows in _plan_blocks(region.y / downsample, step, size.height, block):
            for x, taps in columns:
                window = self._read_window(source, level, rows, taps)
                part = resample(window, rows, taps)
                out[y : y + part.shape[0], x : x + part.shape[1]] = part
        return out

    def close(self) -> None:
        """Release the file. Further reads are an error."""
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

    def _read_window(
        self, source: TileSource, level: int, rows: Taps, columns: Taps
    ) -> NDArray[np.uint8]:
        """The px of a level that `rows` and `columns` use, white beyond the level's edge."""
        top, bottom, left, right = rows.first, rows.stop, columns.first, columns.stop
        window = np.full((bottom - top, right - left, 3), 255, np.uint8)
        grid = source.levels[level]
        tile_w, tile_h = grid.tile.width, grid.tile.height
        for row in range(max(0, top) // tile_h, _ceil_div(min(bottom, grid.size.height), tile_h)):
            for column in range(
                max(0, left) // tile_w, _ceil_div(min(right, grid.size.width), tile_w)
            ):
                tile = self._read_tile(source, level, column, row)
                x, y = column * tile_w, row * tile_h
                x0, x1 = max(left, x), min(right, x + tile.shape[1])
                y0, y1 = max(top, y), min(bottom, y + tile.shape[0])
                if x0 < x1 and y0 < y1:
                    window[y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                        y0 - y : y1 - y, x0 - x : x1 - x
                    ]
        return window

    def _read_tile(
        self, source: TileSource, level: int, column: int, row: int
    ) -> NDArray[np.uint8]:
        key = (level, column, row)
        tile = self._tiles.get(key)
        if tile is None:
            tile = source.read_tile(level, column, row)
            self._tiles.put(key, tile)
        return tile


class _TileCache:
    """The most recently used tiles, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tiles: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()

    def get(self, key: tuple[int, int, int]) -> NDArray[np.uint8] | None:
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        return tile

    def put(self, key: tuple[int, int, int], tile: NDArray[np.uint8]) -> None:
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > self._max_bytes and self._tiles:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        self._tiles.clear()
        self._bytes = 0


def _plan_blocks(start: float, step: float, count: int, block: int) -> Iterator[tuple[int, Taps]]:
    """Taps of `count` output px in runs of at most `block`, each with its first output px."""
    taps = plan_taps(start, step, count)
    for first in range(0, count, block):
        run = slice(first, first + block)
        yield first, Taps(taps.indices[run], taps.weights[run])


def _check_request(region: Region, um_per_px: float) -> None:
    numbers = (region.x, region.y, region.width, region.height, um_per_px)
    if not all(map(math.isfinite, numbers)) or min(region.width, region.height, um_per_px) <= 0:
        raise ValueError(f"not a region and scale that can be read: {region}, {um_per_px} µm/px")


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)
