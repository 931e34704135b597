"""Pixels that are not 8-bit RGB, tables that are not theirs, and scales that are none."""

import struct
from pathlib import Path

import numpy as np

from tests.integration.hostile.outcomes import (
    BAD_RESOLUTION,
    NO_RESOLUTION,
    UNREADABLE,
    UNSUPPORTED,
    WHOLE,
    Cases,
)
from tests.integration.hostile.sound import (
    PER_CM,
    locate_entry,
    noise,
    pixels,
    rename_tag,
    set_count,
    write_flat,
    write_sound,
)
from tests.slide_files import overwrite, set_tag, write_abbreviated


def cmyk(path: Path) -> None:
    key = np.zeros((*pixels().shape[:2], 1), np.uint8)
    write_flat(path, np.dstack([255 - pixels(), key]), photometric="separated")


def cmyk_in_jpeg(path: Path) -> None:
    """YCCK, as Adobe calls it once it is compressed."""
    key = np.zeros((*pixels().shape[:2], 1), np.uint8)
    four = np.dstack([255 - pixels(), key])
    write_flat(path, four, photometric="separated", compression="jpeg")


def sixteen_bits(path: Path) -> None:
    write_flat(path, pixels().astype(np.uint16) * 257, photometric="rgb")


def signed_bytes(path: Path) -> None:
    write_flat(path, (pixels() // 2).astype(np.int8), photometric="rgb")


def floats(path: Path) -> None:
    write_flat(path, pixels().astype(np.float32) / 255, photometric="rgb")


def greyscale(path: Path) -> None:
    write_flat(path, pixels()[..., 1].copy(), photometric="minisblack")


def palette(path: Path) -> None:
    colours = np.zeros((3, 256), np.uint16)
    write_flat(path, pixels()[..., 1].copy(), photometric="palette", colormap=colours)


def bilevel(path: Path) -> None:
    write_flat(path, pixels()[..., 1] > 128, photometric="minisblack", rowsperstrip=64)


def cielab(path: Path) -> None:
    write_flat(path, pixels(), photometric="cielab")


def planes(path: Path) -> None:
    """One colour after the other: OpenSlide reads it."""
    planar = np.ascontiguousarray(pixels().transpose(2, 0, 1))
    write_flat(path, planar, photometric="rgb", planarconfig="separate")


def alpha(path: Path) -> None:
    """OpenSlide reads it."""
    opaque = np.full((*pixels().shape[:2], 1), 255, np.uint8)
    write_flat(path, np.dstack([pixels(), opaque]), photometric="rgb", extrasamples=["unassalpha"])


def five_samples(path: Path) -> None:
    """OpenSlide reads the three that are colours."""
    more = np.full((*pixels().shape[:2], 2), 255, np.uint8)
    write_flat(path, np.dstack([pixels(), more]), photometric="rgb")


def unknown_compression(path: Path) -> None:
    set_tag(path, 259, 9999)


def old_jpeg_compression(path: Path) -> None:
    """Compression 6 of TIFF 6.0, given up in 1995."""
    set_tag(path, 259, 6)


def unknown_photometric(path: Path) -> None:
    set_tag(path, 262, 999)


def no_photometric(path: Path) -> None:
    rename_tag(path, 262, 65000)


def deflate_that_says_it_is_jpeg(path: Path) -> None:
    write_sound(path, compression="deflate")
    for page in range(3):
        set_tag(path, 259, 7, page=page)


def jpeg_that_says_it_is_plain(path: Path) -> None:
    for page in range(3):
        set_tag(path, 259, 1, page=page)


def abbreviated(path: Path) -> Path:
    """Tiles whose tables lie in the directory, as scanners write, and a resolution."""
    return write_abbreviated(path, pixels(), **PER_CM)


def set_tables(path: Path, tables: bytes) -> None:
    end = abbreviated(path).stat().st_size
    overwrite(path, end, tables)
    overwrite(path, locate_entry(path, 347) + 4, struct.pack("<II", len(tables), end))


def no_jpeg_tables(path: Path) -> None:
    rename_tag(abbreviated(path), 347, 65000)


def empty_jpeg_tables(path: Path) -> None:
    set_tables(path, b"\xff\xd8\xff\xd9" + bytes(2))


def jpeg_tables_of_noise(path: Path) -> None:
    set_tables(path, noise(500))


def jpeg_tables_cut_short(path: Path) -> None:
    set_count(abbreviated(path), 347, 100)


def set_resolution(path: Path, x: tuple[int, int], y: tuple[int, int]) -> None:
    for code, rational in ((282, x), (283, y)):
        entry = locate_entry(path, code)
        (at,) = struct.unpack("<I", path.read_bytes()[entry + 8 : entry + 12])
        overwrite(path, at, struct.pack("<II", *rational))


def resolution_0_over_0(path: Path) -> None:
    set_resolution(path, (0, 0), (0, 0))


def resolution_1_over_0(path: Path) -> None:
    set_resolution(path, (1, 0), (1, 0))


def resolution_below_0(path: Path) -> None:
    for code in (282, 283):
        overwrite(path, locate_entry(path, code) + 2, struct.pack("<H", 10))
    set_resolution(path, (2**32 - 40_000, 1), (2**32 - 40_000, 1))


def resolution_of_a_screen(path: Path) -> None:
    write_sound(path, first={"resolution": (72, 72), "resolutionunit": "INCH"})


def resolution_of_a_thousand_million(path: Path) -> None:
    set_resolution(path, (10**9, 1), (10**9, 1))


def resolution_without_a_unit(path: Path) -> None:
    set_tag(path, 296, 1)


def resolution_in_a_unit_of_no_meaning(path: Path) -> None:
    set_tag(path, 296, 99)


def resolution_in_letters(path: Path) -> None:
    for code in (282, 283):
        overwrite(path, locate_entry(path, code) + 2, struct.pack("<H", 2))


def pixels_twice_as_wide_as_high(path: Path) -> None:
    set_resolution(path, (20_000, 1), (40_000, 1))


def coarser_than_a_nucleus_needs(path: Path) -> None:
    set_resolution(path, (20_000, 1), (20_000, 1))


CASES: Cases = {
    cmyk: UNSUPPORTED,
    cmyk_in_jpeg: UNSUPPORTED,
    sixteen_bits: UNSUPPORTED,
    signed_bytes: UNSUPPORTED,
    floats: UNSUPPORTED,
    greyscale: UNSUPPORTED,
    palette: UNSUPPORTED,
    bilevel: UNSUPPORTED,
    cielab: UNSUPPORTED,
    planes: WHOLE,
    alpha: WHOLE,
    five_samples: WHOLE,
    unknown_compression: UNSUPPORTED,
    old_jpeg_compression: UNSUPPORTED,
    unknown_photometric: UNREADABLE,
    no_photometric: UNSUPPORTED,
    deflate_that_says_it_is_jpeg: UNREADABLE,
    jpeg_that_says_it_is_plain: UNREADABLE,
    no_jpeg_tables: UNREADABLE,
    empty_jpeg_tables: UNREADABLE,
    jpeg_tables_of_noise: UNREADABLE,
    jpeg_tables_cut_short: UNREADABLE,
    resolution_0_over_0: NO_RESOLUTION,
    resolution_1_over_0: NO_RESOLUTION,
    resolution_below_0: NO_RESOLUTION,
    resolution_of_a_screen: NO_RESOLUTION,
    resolution_of_a_thousand_million: NO_RESOLUTION,
    resolution_without_a_unit: NO_RESOLUTION,
    resolution_in_a_unit_of_no_meaning: NO_RESOLUTION,
    resolution_in_letters: NO_RESOLUTION,
    pixels_twice_as_wide_as_high: BAD_RESOLUTION,
    coarser_than_a_nucleus_needs: BAD_RESOLUTION,
}
