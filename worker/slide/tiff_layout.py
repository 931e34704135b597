"""What a plain TIFF slide holds: its levels, where their tiles lie, and its scale.

The one place where errors that tifffile raises on metadata are translated.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from service.contract.failure import FailureCode, SlideError
from worker.slide.geometry import Size
from worker.slide.limits import MAX_TILE_PX, check_size, strip_fits
from worker.slide.pyramid import fits_pyramid
from worker.slide.resolution import (
    StatedResolution,
    state_aperio_resolution,
    state_ome_resolution,
    state_tiff_resolution,
)
from worker.slide.tiff_chain import damaged_tiff

HOSTILE: Final[tuple[type[Exception], ...]] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,  # a codec that this build of imagecodecs lacks
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # also every imagecodecs error, NotImplementedError and RecursionError
    SyntaxError,  # XML
    TypeError,
    ValueError,  # also TiffFileError and UnicodeError
    struct.error,
    tifffile.OmeXmlError,
    zlib.error,
)
"""What tifffile and imagecodecs raise on hostile files; to be caught around their calls only."""

_TIFFFILE: Final = f"tifffile {tifffile.__version__}"
JPEG: Final = 7
JPEG2000: Final = 34712
_JPEG_START: Final = b"\xff\xd8"
_JPEG_END: Final = b"\xff\xd9"
_BOUNDED: Final = frozenset({1, 5, 8, 32773, 32946, 50000})
"""none, LZW, deflate (two codes), PackBits, Zstandard: decoded into a buffer of known size."""
_RGB: Final = 2
_YCBCR: Final = 6
_PHOTOMETRIC: Final = {0: "greyscale", 1: "greyscale", 3: "palette", 5: "CMYK", 8: "CIELAB"}


@dataclass(frozen=True, slots=True)
class TiffImage:
    """One image of a TIFF, as its directory describes it.

    Attributes:
        size, tile: px. A strip is a tile as wide as the image.
        offsets, byte_counts: of each tile in the file, row by row.
        jpeg_is_rgb: JPEG data hold RGB although they do not say so, as Aperio's do.
        decode: tifffile's closure over the directory: (data, index, jpegtables) -> array.
    """

    size: Size
    tile: Size
    is_tiled: bool
    bits: int
    is_unsigned: bool
    samples: int
    planar: bool
    photometric: int
    compression: int
    offsets: tuple[int, ...]
    byte_counts: tuple[int, ...]
    jpeg_tables: bytes | None
    jpeg_is_rgb: bool
    decode: Callable[..., Any]

    @property
    def grid(self) -> Size:
        """Columns and rows of tiles."""
        return Size(
            -(-self.size.width // self.tile.width), -(-self.size.height // self.tile.height)
        )


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """A TIFF whose directories have been checked against the file.

    Attributes:
        format: "aperio", "ome-tiff" or "generic-tiff".
        images: full resolution first, then the smaller levels of the same image.
        resolution: what the metadata say.
    """

    format: str
    images: tuple[TiffImage, ...]
    resolution: StatedResolution | None
    icc_profile: bool

    @property
    def base(self) -> TiffImage:
        """The full-resolution image."""
        return self.images[0]


def read_layout(path: Path) -> TiffLayout:
    """Read and check a TIFF's directories; `check_directories` must have passed.

    Raises:
        SlideError: slide_unreadable if the directories make no sense; slide_too_large,
            unsupported_format for sizes that no slide has.
    """
    try:
        with tifffile.TiffFile(path, is_ndpi=False) as tiff:
            images = [(page, _read_image(page)) for page in _walk_pages(tiff)]
            if not images:
                raise damaged_tiff("it holds no image")
            page, base = max(images, key=lambda pair: pair[1].size.width * pair[1].size.height)
            description = str(page.description or tiff.pages[0].description)
            resolution = _read_resolution(page, description, base.size)
            icc_profile = 34675 in page.tags
    except HOSTILE as err:
        raise damaged_tiff(f"its directories make no sense to {_TIFFFILE}") from err
    check_size(base.size)
    for _, image in images:
        _check_tables(image)
    levels = [base]
    smaller = (image for _, image in images if image.is_tiled)
    for image in sorted(smaller, key=lambda image: -image.size.width):
        if fits_pyramid(base.size, image.size) and image.size.width < levels[-1].size.width:
            levels.append(image)
    return TiffLayout(_name_format(description), tuple(levels), resolution, icc_profile)


def check_plain(layout: TiffLayout) -> None:
    """Refuse a TIFF that is no vendor's if it is not 8-bit colour.

    Raises:
        SlideError: unsupported_format, stains cannot be judged.
    """
    base = layout.base
    if base.bits != 8:
        what = f"{base.bits} bits a sample"
    elif not base.is_unsigned:
        what = "samples with a sign"
    elif base.photometric not in {_RGB, _YCBCR}:
        what = _PHOTOMETRIC.get(base.photometric, f"photometric {base.photometric}") + " pixels"
    else:
        return
    raise SlideError(
        FailureCode.UNSUPPORTED_FORMAT,
        f"the TIFF has {what}; cells are judged by their stain in 8-bit RGB: export the scan as"
        " 8-bit RGB",
    )


def find_obstacle(layout: TiffLayout) -> str | None:
    """Why `tiff_tiles` cannot read a layout, as a phrase; None if it can."""
    for image in layout.images:
        subsampled = image.photometric == _YCBCR and image.compression not in {JPEG, JPEG2000}
        if image.planar or image.samples != 3 or image.bits != 8 or subsampled:
            return "samples that are not interleaved 8-bit RGB"
        if image.compression not in {JPEG, JPEG2000, *_BOUNDED}:
            return f"compression {image.compression}"
        if image.is_tiled and image.tile.width * image.tile.height > MAX_TILE_PX:
            return f"tiles of {image.tile.width} × {image.tile.height} px"
        if not (image.is_tiled or strip_fits(image.tile)):
            return f"strips of {image.tile.width} × {image.tile.height} px"
    return None


def _walk_pages(tiff: Any) -> Iterator[Any]:
    """The directories of the main chain, each followed by its sub-directories."""
    for index in range(len(tiff.pages)):
        page = tiff.pages.get(index, cache=True, aspage=True)
        yield page
        if page.pages is not None:
            yield from (page.pages.get(i, aspage=True) for i in range(len(page.pages)))


def _read_image(page: Any) -> TiffImage:
    size = Size(int(page.imagewidth), int(page.imagelength))
    if page.is_tiled:
        tile = Size(int(page.tilewidth), int(page.tilelength))
    else:
        tile = Size(size.width, min(int(page.rowsperstrip), size.height))
    return TiffImage(
        size=size,
        tile=Size(max(1, tile.width), max(1, tile.height)),
        is_tiled=bool(page.is_tiled),
        bits=int(np.max(page.bitspersample)),
        is_unsigned=int(page.sampleformat) in {1, 4},  # 4: undefined
        samples=int(page.samplesperpixel),
        planar=int(page.planarconfig) != 1 and int(page.samplesperpixel) > 1,
        photometric=int(page.photometric),
        compression=int(page.compression),
        offsets=tuple(map(int, page.dataoffsets)),
        byte_counts=tuple(map(int, page.databytecounts)),
        jpeg_tables=page.jpegtables,
        jpeg_is_rgb=page.compression == JPEG and page.photometric == _RGB and not page.is_jfif,
        decode=page.decode,
    )


def _check_tables(image: TiffImage) -> None:
    """Refuse an image whose size and tile tables contradict each other.

    Any image: damage that makes the largest one small would let another take its place.
    """
    size, grid = image.size, image.grid
    if not (size.width and size.height):
        raise damaged_tiff(f"an image is said to have {size.width} × {size.height} px")
    tiles = grid.width * grid.height * (image.samples if image.planar else 1)
    if not len(image.offsets) == len(image.byte_counts) == tiles:
        raise damaged_tiff(
            f"an image of {size.width} × {size.height} px needs {tiles} tiles,"
            f" {len(image.offsets)} are listed"
        )
    tables = image.jpeg_tables
    if tables and not (tables.startswith(_JPEG_START) and tables.rstrip(b"\0").endswith(_JPEG_END)):
        raise damaged_tiff(f"the {len(tables)} bytes of its JPEG tables are not whole")


def _read_resolution(page: Any, description: str, size: Size) -> StatedResolution | None:
    if description.startswith("Aperio"):
        stated = state_aperio_resolution(description)
        if stated is not None:
            return stated
    if _is_ome(description):
        stated = state_ome_resolution(description, size)
        if stated is not None:
            return stated
    x, y = (_rational(page.tags.valueof(code)) for code in (282, 283))
    return state_tiff_resolution(x, y, int(page.tags.valueof(296, default=2)))


def _rational(value: Any) -> float:
    """A TIFF RATIONAL as a number; 0, which states no resolution, if absent or over nothing."""
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return 0.0
    return float(value[0]) / float(value[1])


def _name_format(description: str) -> str:
    if description.startswith("Aperio"):
        return "aperio"
    return "ome-tiff" if _is_ome(description) else "generic-tiff"


def _is_ome(description: str) -> bool:
    return description.rstrip().endswith("OME>")
