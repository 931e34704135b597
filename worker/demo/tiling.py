"""Cuts an image into encoded JPEG tiles, several pyramid levels in one pass over its pixels."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.slide.geometry import Size

PixelSource = Callable[[int, int, int, int], NDArray[np.uint8]]
"""`source(x, y, width, height)`: RGB, shape (height, width, 3), of a rectangle inside the image.
Called from several threads, once for every pixel, in no promised order."""

LEVELS_A_PASS: Final = 3
"""Levels cut from one chunk of pixels while it is in memory."""
THREADS: Final = 2


@dataclass(slots=True)
class Spool:
    """Encoded tiles of one reduced level, kept on disk until its turn in the file."""

    file: IO[bytes]
    lengths: list[int] = field(default_factory=list)

    def add(self, tile: bytes) -> None:
        """Append one tile."""
        self.file.write(tile)
        self.lengths.append(len(tile))

    def tiles(self) -> Iterator[bytes]:
        """All tiles in the order they came."""
        self.file.seek(0)
        for length in self.lengths:
            yield self.file.read(length)


@dataclass(frozen=True, slots=True)
class PixelFile:
    """An RGB image on disk. It is mapped for one access at a time, so it never counts as memory.

    Attributes:
        path: of the raw pixels.
        size: px.
    """

    path: Path
    size: Size

    @classmethod
    def create(cls, path: Path, size: Size) -> Self:
        """A new black image."""
        with path.open("wb") as file:
            file.truncate(size.width * size.height * 3)
        return cls(path, size)

    def write(self, x: int, y: int, pixels: NDArray[np.uint8]) -> None:
        """Put pixels, shape (h, w, 3), with their top left corner at (x, y)."""
        self._map()[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """A copy of a rectangle, shape (height, width, 3): a `PixelSource`."""
        return self._map()[y : y + height, x : x + width].copy()

    def _map(self) -> NDArray[np.uint8]:
        return np.memmap(self.path, np.uint8, "r+", shape=(self.size.height, self.size.width, 3))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk, encoded: tile rows per level, and its pixels at the next pass's scale."""

    tile_rows: list[list[list[bytes]]]
    rest: NDArray[np.uint8]


class TilePass:
    """Cuts up to `LEVELS_A_PASS` levels out of one pixel source.

    Chunks are `tile_px * 2**(LEVELS_A_PASS - 1)` wide, so each holds whole tiles of every level.

    Attributes:
        spools: the tiles of every level but the first, filled while `tiles` is drained.
        rest: the pixels one more halving down, the next pass's source; None after the last pass.
    """

    def __init__(
        self,
        sizes: tuple[Size, ...],
        first: int,
        tile_px: int,
        quality: int,
        scratch: Path,
        files: ExitStack,
    ) -> None:
        self._size = sizes[0]
        self._levels = min(LEVELS_A_PASS, len(sizes))
        self._tile_px = tile_px
        self._quality = quality
        self._chunk_px = tile_px << (LEVELS_A_PASS - 1)
        self.spools = [
            Spool(files.enter_context((scratch / f"tiles-{first + step}").open("w+b")))
            for step in range(1, self._levels)
        ]
        self.rest: PixelFile | None = None
        if len(sizes) > LEVELS_A_PASS:
            self.rest = PixelFile.create(scratch / f"pixels-{first}", sizes[LEVELS_A_PASS])

    def tiles(
        self,
        source: PixelSource,
        pool: ThreadPoolExecutor,
        progress: Callable[[int, int], None] | None,
    ) -> Iterator[bytes]:
        """Level 0's tiles row by row; the other levels' go to the spools on the way."""
        width, height, step = self._size.width, self._size.height, self._chunk_px
        columns = math.ceil(width / step)
        origins = ((x, y) for y in range(0, height, step) for x in range(0, width, step))
        pending: deque[Future[_Chunk]] = deque()
        for _ in range(THREADS + 1):
            self._submit(pool, source, origins, pending)
        for y in range(0, height, step):
            band: list[list[list[bytes]]] = [
                [[] for _ in range((step // self._tile_px) >> level)]
                for level in range(self._levels)
            ]
            for column in range(columns):
                chunk = pending.popleft().result()
                self._submit(pool, source, origins, pending)
                for level, rows in enumerate(chunk.tile_rows):
                    for row, tiles in zip(band[level], rows, strict=False):
                        row.extend(tiles)
                self._keep_rest(chunk.rest, column, y // step)
                if progress is not None:
                    done = y * width + min(width, (column + 1) * step) * min(step, height - y)
                    progress(done, width * height)
            for spool, rows in zip(self.spools, band[1:], strict=True):
                for row in rows:
                    for tile in row:
                        spool.add(tile)
            for row in band[0]:
                yield from row

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        source: PixelSource,
        origins: Iterator[tuple[int, int]],
        pending: deque[Future[_Chunk]],
    ) -> None:
        for x, y in origins:
            pending.append(pool.submit(self._cut, source, x, y))
            return

    def _cut(self, source: PixelSource, x: int, y: int) -> _Chunk:
        width = min(self._chunk_px, self._size.width - x)
        height = min(self._chunk_px, self._size.height - y)
        pixels = source(x, y, width, height)
        tile_rows = []
        for _ in range(self._levels):
            tile_rows.append(self._encode(pixels))
            pixels = np.asarray(Image.fromarray(pixels).reduce(2))
        return _Chunk(tile_rows, pixels)

    def _encode(self, pixels: NDArray[np.uint8]) -> list[list[bytes]]:
        edge = self._tile_px
        return [
            [
                _encode_tile(pixels[y : y + edge, x : x + edge], edge, self._quality)
                for x in range(0, pixels.shape[1], edge)
            ]
            for y in range(0, pixels.shape[0], edge)
        ]

    def _keep_rest(self, rest: NDArray[np.uint8], column: int, row: int) -> None:
        if self.rest is not None:
            edge = self._chunk_px >> LEVELS_A_PASS
            self.rest.write(column * edge, row * edge, rest)


def _encode_tile(pixels: NDArray[np.uint8], edge: int, quality: int) -> bytes:
    below, right = edge - pixels.shape[0], edge - pixels.shape[1]
    if below or right:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    return bytes(
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(pixels),
            level=quality,
            colorspace="RGB",
            outcolorspace="YCBCR",
            subsampling="420",
        )
    )
