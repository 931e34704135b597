"""Tiled JPEG pyramid TIFFs, written in one streaming pass over the pixels.

The layout is the one OpenSlide calls "generic-tiff"; QuPath, TiffSlide and libvips read it too:
one tiled IFD a level, the reduced ones marked NewSubfileType = 1, each half the size of the one
before, the resolution in centimetres (TIFF 6.0, sections 8, 15 and 22).
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from worker.slide.geometry import Size

PixelSource = Callable[[int, int, int, int], NDArray[np.uint8]]
"""`source(x, y, width, height)`: RGB, shape (height, width, 3), of a rectangle inside the image.
Called from several threads, once for every pixel, in no promised order."""

SMALLEST_PX: Final = 1024
"""The pyramid ends with the first level whose longer side is below this."""
LEVELS_A_PASS: Final = 3
"""Levels cut from one chunk of pixels while it is in memory."""
BIGTIFF_FROM_PX: Final = 1_000_000_000
"""Classic TIFF ends at 4 GiB. All levels together stay below 4 bytes a level-0 px."""
THREADS: Final = 2


def write_pyramid(
    path: Path,
    source: PixelSource,
    size: Size,
    um_per_px: float | None,
    *,
    tile_px: int = 512,
    quality: int = 85,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Size, ...]:
    """Write an image of any size as a JPEG pyramid; memory grows with its width at most.

    The file appears under `path` only when it is whole.

    Args:
        path: of the TIFF; an existing file is replaced.
        source: gives the level-0 pixels, see `PixelSource`.
        size: of level 0, px.
        um_per_px: micrometres per level-0 px; None leaves the resolution unstated.
        tile_px: edge of the square tiles, a multiple of 16.
        quality: of the JPEG, 1–100, with 4:2:0 chroma.
        progress: told (level-0 px written, level-0 px in all) now and then.

    Returns:
        The size of every level, from full resolution down; each is half the one before, rounded up.

    Raises:
        ValueError: the image is empty, or `tile_px` is not a positive multiple of 16.
    """
    if size.width < 1 or size.height < 1:
        raise ValueError(f"an image of {size.width} × {size.height} px has no pixels")
    if tile_px < 16 or tile_px % 16:
        raise ValueError(f"tile_px is {tile_px}; TIFF wants a positive multiple of 16")
    sizes = _plan_levels(size)
    draft = path.with_name(f"{path.name}.part")
    try:
        with (
            TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch,
            ThreadPoolExecutor(THREADS) as pool,
            tifffile.TiffWriter(draft, bigtiff=_needs_bigtiff(size)) as tiff,
            ExitStack() as spools,
        ):
            for first in range(0, len(sizes), LEVELS_A_PASS):
                cut = _Pass(sizes[first:], first, tile_px, quality, Path(scratch), spools)
                tiles = cut.tiles(source, pool, progress if first == 0 else None)
                for step, level in enumerate(sizes[first : first + LEVELS_A_PASS]):
                    scale = None if um_per_px is None else um_per_px * 2 ** (first + step)
                    _write_level(
                        tiff,
                        tiles if step == 0 else cut.spools[step - 1].tiles(),
                        level,
                        scale,
                        tile_px,
                        reduced=first + step > 0,
                    )
                source = cut.next_source
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return sizes


def write_image_pyramid(
    path: Path,
    image: NDArray[np.uint8],
    *,
    um_per_px: float | None,
    tile_px: int = 512,
    quality: int = 85,
) -> tuple[Size, ...]:
    """Write an ordinary image, for instance a stitched mosaic, as a JPEG pyramid.

    Args:
        path: of the TIFF; an existing file is replaced.
        image: RGB, shape (height, width, 3), 0–255.
        um_per_px: micrometres per px; None leaves the resolution unstated.
        tile_px: edge of the square tiles, a multiple of 16.
        quality: of the JPEG, 1–100.

    Returns:
        The size of every level, from full resolution down.

    Raises:
        ValueError: the image is empty or not RGB, or `tile_px` is not a positive multiple of 16.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the image has shape {image.shape}; expected (height, width, 3)")
    size = Size(image.shape[1], image.shape[0])
    return write_pyramid(
        path, _array_source(image), size, um_per_px, tile_px=tile_px, quality=quality
    )


def _array_source(image: NDArray[np.uint8]) -> PixelSource:
    return lambda x, y, width, height: image[y : y + height, x : x + width]


def _plan_levels(size: Size) -> tuple[Size, ...]:
    sizes = [size]
    while max(sizes[-1].width, sizes[-1].height) >= SMALLEST_PX:
        sizes.append(_half(sizes[-1]))
    return tuple(sizes)


def _half(size: Size) -> Size:
    return Size(-(-size.width // 2), -(-size.height // 2))


def _needs_bigtiff(size: Size) -> bool:
    return size.width * size.height >= BIGTIFF_FROM_PX


@dataclass(slots=True)
class _Spool:
    """Encoded tiles of one reduced level, kept on disk until its turn in the file."""

    file: IO[bytes]
    lengths: list[int] = field(default_factory=list)

    def add(self, tile: bytes) -> None:
        self.file.write(tile)
        self.lengths.append(len(tile))

    def tiles(self) -> Iterator[bytes]:
        self.file.seek(0)
        for length in self.lengths:
            yield self.file.read(length)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk, encoded: tile rows per level, and its pixels at the next pass's scale."""

    tile_rows: list[list[list[bytes]]]
    rest: NDArray[np.uint8]


class _Pass:
    """Cuts up to `LEVELS_A_PASS` levels out of one pixel source.

    Chunks are `tile_px * 2**(LEVELS_A_PASS - 1)` wide, so each holds whole tiles of every level.
    What is left, one more halving down, goes to a memory-mapped file: the next pass's source.
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
            _Spool(files.enter_context((scratch / f"tiles-{first + step}").open("w+b")))
            for step in range(1, self._levels)
        ]
        self._rest: NDArray[np.uint8] | None = None
        if len(sizes) > LEVELS_A_PASS:
            rest = sizes[LEVELS_A_PASS]
            self._rest = np.memmap(
                scratch / f"pixels-{first}", np.uint8, "w+", shape=(rest.height, rest.width, 3)
            )

    @property
    def next_source(self) -> PixelSource:
        """The pixels that are left once all tiles are cut."""
        return _array_source(self._rest if self._rest is not None else np.empty((0, 0, 3), "u1"))

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
        if self._rest is None:
            return
        edge = self._chunk_px >> LEVELS_A_PASS
        x, y = column * edge, row * edge
        self._rest[y : y + rest.shape[0], x : x + rest.shape[1]] = rest


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


def _write_level(
    tiff: tifffile.TiffWriter,
    tiles: Iterator[bytes],
    size: Size,
    um_per_px: float | None,
    tile_px: int,
    *,
    reduced: bool,
) -> None:
    per_cm = None if um_per_px is None else (10_000 / um_per_px,) * 2
    tiff.write(
        tiles,
        shape=(size.height, size.width, 3),
        dtype=np.uint8,
        tile=(tile_px, tile_px),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        resolution=per_cm,
        resolutionunit=None if per_cm is None else "CENTIMETER",
        subfiletype=1 if reduced else 0,
        metadata=None,
        software=False,
    )
