"""The sound slide that every defect starts from, and tools to edit its bytes."""

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.slide_files import locate_tile, overwrite, set_tag, write_pyramid
from tests.smears import paint_field

SIDE_PX = 1024
TILE_PX = 256
UM_PER_PX = 0.25
PLANTED = 4
"""Leukocytes, one in the middle of each quarter of the slide."""

FULL, DETECTION = 0, 1
"""Pages: of full resolution, where patches come from; and of 0.5 µm/px, where cells are found."""
CELL_TILE = {FULL: 5, DETECTION: 0}
"""A tile of each that a leukocyte lies on."""

LONG, RATIONAL = 4, 5
PER_CM: dict[str, Any] = {
    "resolution": (1e4 / UM_PER_PX, 1e4 / UM_PER_PX),
    "resolutionunit": "CENTIMETER",
}


@cache
def pixels() -> NDArray[np.uint8]:
    """RGB, shape (SIDE_PX, SIDE_PX, 3)."""
    picture, cells = paint_field(SIDE_PX, SIDE_PX, UM_PER_PX)
    assert len(cells) == PLANTED
    return picture


def write_sound(path: Path, **options: Any) -> Path:
    """A pyramid of three levels of `pixels`, with a resolution; `options` as `write_pyramid`."""
    return write_pyramid(path, pixels(), **{"first": PER_CM, **options})


def write_flat(path: Path, picture: NDArray[Any], **options: Any) -> Path:
    """One image without a pyramid, in tiles unless `rowsperstrip` is given, with a resolution."""
    layout = {} if "rowsperstrip" in options else {"tile": (TILE_PX, TILE_PX)}
    tifffile.imwrite(path, picture, metadata=None, **PER_CM, **layout, **options)
    return path


def tiles_of(path: Path, page: int) -> range:
    """Indices of a page's tiles."""
    with tifffile.TiffFile(path) as tiff:
        return range(len(tiff.pages[page].dataoffsets))


def replace_tile(path: Path, data: bytes, page: int = FULL, index: int | None = None) -> Path:
    """Put other bytes in a tile's place, at the end of the file."""
    end = path.stat().st_size
    overwrite(path, end, data)
    return point_tile(path, end, len(data), page, index)


def point_tile(
    path: Path, offset: int, byte_count: int, page: int = FULL, index: int | None = None
) -> Path:
    """Let a tile's table entries say something else; by default of the tile with a cell."""
    item = CELL_TILE[page] if index is None else index
    set_tag(path, 324, offset, item=item, page=page)
    return set_tag(path, 325, byte_count, item=item, page=page)


def read_tile_bytes(path: Path, page: int = FULL) -> bytes:
    """The compressed tile with a cell."""
    offset, size = locate_tile(path, CELL_TILE[page], page)
    return path.read_bytes()[offset : offset + size]


def encode_jpeg(picture: NDArray[np.uint8], **options: Any) -> bytes:
    """A JPEG of full quality tables, 4:2:0 for RGB."""
    return bytes(imagecodecs.jpeg8_encode(picture, **{"level": 90, **options}))


def noise(size: int, seed: int = 0) -> bytes:
    """Random bytes."""
    return np.random.default_rng(seed).bytes(size)


def locate_entry(path: Path, code: int, page: int = FULL) -> int:
    """Offset of a tag's entry of 12 bytes (classic TIFF) or 20 (BigTIFF)."""
    with tifffile.TiffFile(path) as tiff:
        return int(tiff.pages[page].tags[code].offset)


def locate_link(path: Path, page: int) -> int:
    """Where a classic TIFF's directory keeps the offset of the next one."""
    with tifffile.TiffFile(path) as tiff:
        directory = tiff.pages[page]
        return int(directory.offset) + 2 + 12 * len(directory.tags)


def rename_tag(path: Path, code: int, to: int, page: int = FULL) -> Path:
    """Turn a tag into another; 65000 is private, so that the tag is missing."""
    return overwrite(path, locate_entry(path, code, page), struct.pack("<H", to))


def set_type(path: Path, code: int, kind: int, page: int = FULL) -> Path:
    """Let a tag claim another data type."""
    return overwrite(path, locate_entry(path, code, page) + 2, struct.pack("<H", kind))


def set_count(path: Path, code: int, count: int, page: int = FULL) -> Path:
    """Let a classic TIFF's tag claim another number of values."""
    return overwrite(path, locate_entry(path, code, page) + 4, struct.pack("<I", count))


def set_size(path: Path, width: int, height: int) -> Path:
    """Let the full-resolution image claim another size, in a field wide enough for any."""
    for code, value in ((256, width), (257, height)):
        set_type(path, code, LONG)
        overwrite(path, locate_entry(path, code) + 8, struct.pack("<I", value))
    return path


Tags = dict[int, tuple[int, Sequence[int]]]
"""Type (3 SHORT, 4 LONG, 5 RATIONAL) and numbers by tag; a RATIONAL is two numbers."""


def write_raw(path: Path, body: bytes, directories: Iterable[Tags]) -> Path:
    """A classic little-endian TIFF of any directories; `body` lies at byte 8."""
    data = bytearray(b"II*\0" + struct.pack("<I", 0) + body)
    link_at = 4
    for tags in directories:
        entries = bytearray()
        for code, (kind, numbers) in tags.items():
            values = np.array(numbers, "<u2" if kind == 3 else "<u4").tobytes()
            count = len(numbers) // 2 if kind == RATIONAL else len(numbers)
            if len(values) > 4:
                values, at = struct.pack("<I", len(data)), values
                data += at
            entries += struct.pack("<HHI", code, kind, count) + values.ljust(4, b"\0")
        struct.pack_into("<I", data, link_at, len(data))
        data += struct.pack("<H", len(tags)) + entries
        link_at = len(data)
        data += bytes(4)
    path.write_bytes(data)
    return path


def shared_tile_tags(side_px: int, tile_px: int, compression: int, byte_count: int) -> Tags:
    """Directory of a square RGB image whose tiles are all the same bytes, at byte 8."""
    n = (-(-side_px // tile_px)) ** 2
    return {
        256: (LONG, [side_px]),
        257: (LONG, [side_px]),
        258: (3, [8, 8, 8]),
        259: (3, [compression]),
        262: (3, [2]),
        277: (3, [3]),
        282: (RATIONAL, [40_000, 1]),
        283: (RATIONAL, [40_000, 1]),
        296: (3, [3]),
        322: (LONG, [tile_px]),
        323: (LONG, [tile_px]),
        324: (LONG, [8] * n),
        325: (LONG, [byte_count] * n),
    }
