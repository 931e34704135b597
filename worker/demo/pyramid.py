"""Tiled JPEG pyramid TIFFs, written in one streaming pass over the pixels.

The layout is the one OpenSlide calls "generic-tiff"; QuPath, TiffSlide and libvips read it too:
one tiled IFD a level, the reduced ones marked NewSubfileType = 1, each half the size of the one
before, the resolution in centimetres (TIFF 6.0, sections 8, 15 and 22).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from worker.demo.tiling import LEVELS_A_PASS, THREADS, PixelSource, TilePass
from worker.slide.geometry import Size

SMALLEST_PX: Final = 1024
"""The pyramid ends with the first level whose longer side is below this."""
BIGTIFF_FROM_PX: Final = 1_000_000_000
"""Classic TIFF ends at 4 GiB. All levels together stay below 4 bytes a level-0 px."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch,
            ThreadPoolExecutor(THREADS) as pool,
            tifffile.TiffWriter(draft, bigtiff=_needs_bigtiff(size)) as tiff,
            ExitStack() as spools,
        ):
            for first in range(0, len(sizes), LEVELS_A_PASS):
                cut = TilePass(sizes[first:], first, tile_px, quality, Path(scratch), spools)
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
                if cut.rest is not None:
                    source = cut.rest.read
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

    def source(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return image[y : y + height, x : x + width]

    return write_pyramid(path, source, size, um_per_px, tile_px=tile_px, quality=quality)


def _plan_levels(size: Size) -> tuple[Size, ...]:
    sizes = [size]
    while max(sizes[-1].width, sizes[-1].height) >= SMALLEST_PX:
        sizes.append(_half(sizes[-1]))
    return tuple(sizes)


def _half(size: Size) -> Size:
    return Size(-(-size.width // 2), -(-size.height // 2))


def _needs_bigtiff(size: Size) -> bool:
    return size.width * size.height >= BIGTIFF_FROM_PX


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
