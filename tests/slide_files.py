"""Slide files for the tests: a smear-like picture, written sound or broken on purpose."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image


def paint_smear(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth colourful picture: RGB, shape (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 250, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def shrink(pixels: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Area average of by × by px, remainders dropped."""
    height, width = pixels.shape[0] // by, pixels.shape[1] // by
    whole = pixels[: height * by, : width * by].astype(np.float32)
    mean = whole.reshape(height, by, width, by, 3).mean(axis=(1, 3))
    return np.rint(mean).astype(np.uint8)


def write_pyramid(
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    downsamples: tuple[int, ...] = (1, 2, 4),
    tile_px: int = 256,
    sub_ifds: bool = False,
    bigtiff: bool = False,
    ome: bool = False,
    metadata: dict[str, Any] | None = None,
    first: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """A tiled pyramid by tifffile; JPEG, quality 90, unless `options` say otherwise.

    Args:
        pixels: RGB, shape (height, width, 3).
        first: options of the full-resolution image alone (resolution, description, …).
    """
    options = {
        "compression": "jpeg",
        "compressionargs": {"level": 90},
        "photometric": "rgb",
        **options,
    }
    if options["compression"] != "jpeg":
        options.pop("compressionargs")
    with tifffile.TiffWriter(path, bigtiff=bigtiff, ome=ome) as tiff:
        for i, downsample in enumerate(downsamples):
            extra = (first or {}) if i == 0 else {"subfiletype": 1}
            if sub_ifds and i == 0:
                extra = {**extra, "subifds": len(downsamples) - 1}
            tiff.write(
                shrink(pixels, downsample) if downsample > 1 else pixels,
                tile=(tile_px, tile_px),
                metadata=metadata if i == 0 else None,
                **extra,
                **options,
            )
    return path


def locate_tile(path: Path, index: int, page: int = 0) -> tuple[int, int]:
    """Offset and byte count of a tile."""
    with tifffile.TiffFile(path) as tiff:
        image = tiff.pages[page]
        return int(image.dataoffsets[index]), int(image.databytecounts[index])


def overwrite(path: Path, offset: int, data: bytes) -> Path:
    """Replace bytes of a file in place."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)
    return path


def locate_tag(path: Path, code: int, page: int = 0) -> tuple[int, int]:
    """Offset of a tag's value and the bytes of one item of it."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
        return int(tag.valueoffset), {3: 2, 4: 4, 16: 8}[int(tag.dtype)]


def set_tag(path: Path, code: int, value: int, *, item: int = 0, page: int = 0) -> Path:
    """Overwrite one integer of a little-endian TIFF's tag."""
    offset, size = locate_tag(path, code, page)
    return overwrite(path, offset + item * size, value.to_bytes(size, "little"))


def write_abbreviated(
    path: Path, pixels: NDArray[np.uint8], tile_px: int = 256, **options: Any
) -> Path:
    """One level of JPEG tiles that share their tables in the JPEGTables tag, as scanners write.

    Args:
        pixels: RGB, sides a multiple of `tile_px`.
    """
    tiles = [
        imagecodecs.jpeg8_encode(pixels[y : y + tile_px, x : x + tile_px].copy(), level=90)
        for y in range(0, len(pixels), tile_px)
        for x in range(0, pixels.shape[1], tile_px)
    ]
    tables = b"\xff\xd8" + b"".join(_segments(tiles[0], {0xDB, 0xC4})) + b"\xff\xd9"
    abbreviated = []
    for tile in tiles:
        for segment in _segments(tile, {0xDB, 0xC4, 0xE0}):
            tile = tile.replace(segment, b"", 1)
        abbreviated.append(tile)
    tifffile.imwrite(
        path,
        iter(abbreviated),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(tile_px, tile_px),
        compression=7,
        photometric="ycbcr",
        subsampling=(2, 2),
        metadata=None,
        extratags=[(347, 7, len(tables), tables, True)],
        **options,
    )
    return path


def _segments(jpeg: bytes, markers: set[int]) -> list[bytes]:
    """The header segments of a JPEG that carry one of `markers`."""
    found, at = [], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] in markers:
            found.append(jpeg[at:end])
        at = end
    return found
