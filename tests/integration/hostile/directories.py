"""Directories that lead nowhere, in circles, or claim what cannot be."""

import struct
from pathlib import Path

import tifffile

from tests.integration.hostile.outcomes import (
    TOO_LARGE,
    UNREADABLE,
    UNSUPPORTED,
    WHOLE,
    Cases,
)
from tests.integration.hostile.sound import (
    FULL,
    LONG,
    Tags,
    encode_jpeg,
    locate_entry,
    locate_link,
    pixels,
    rename_tag,
    set_count,
    set_size,
    set_type,
    shared_tile_tags,
    write_raw,
    write_sound,
)
from tests.slide_files import overwrite, set_tag

ASCII, FLOAT, MISSING = 2, 11, 65000
TILE = encode_jpeg(pixels()[:256, :256].copy())


def link(path: Path, page: int, offset: int) -> None:
    """Let a directory's link to the next one say something else."""
    overwrite(path, locate_link(path, page), struct.pack("<I", offset))


def offset_of(path: Path, page: int) -> int:
    with tifffile.TiffFile(path) as tiff:
        return int(tiff.pages[page].offset)


def chain_that_ends_where_it_began(path: Path) -> None:
    link(path, 2, offset_of(path, 0))


def directory_that_follows_itself(path: Path) -> None:
    link(path, 1, offset_of(path, 1))


def chain_that_leaves_the_file(path: Path) -> None:
    link(path, 1, 2**31)


def chain_into_the_middle_of_a_tile(path: Path) -> None:
    link(path, 2, 3000)


def first_directory_at_0(path: Path) -> None:
    overwrite(path, 4, bytes(4))


def first_directory_in_the_header(path: Path) -> None:
    overwrite(path, 4, struct.pack("<I", 2))


def point_sub_directory(path: Path, offset: int) -> None:
    write_sound(path, sub_ifds=True)
    at = locate_entry(path, 330) + 8
    (table,) = struct.unpack("<I", path.read_bytes()[at : at + 4])
    overwrite(path, table, struct.pack("<I", offset))


def sub_directory_that_is_its_own_parent(path: Path) -> None:
    """Read as an image that is there twice; the pyramid lacks a level."""
    point_sub_directory(path, offset_of(write_sound(path, sub_ifds=True), 0))


def sub_directory_past_the_end(path: Path) -> None:
    point_sub_directory(path, 2**31)


def sub_directories_by_the_hundred_thousand(path: Path) -> None:
    """Each of them the same directory: a small file that takes long to walk."""
    tags = shared_tile_tags(1024, 256, 7, len(TILE))
    write_raw(path, TILE, [tags, {**tags, 330: (LONG, 100_000 * [0])}])
    at = locate_entry(path, 330, 1) + 8
    (table,) = struct.unpack("<I", path.read_bytes()[at : at + 4])
    overwrite(path, table, 100_000 * struct.pack("<I", offset_of(path, 0)))


def two_thousand_images(path: Path) -> None:
    write_raw(path, TILE, 2000 * [shared_tile_tags(256, 256, 7, len(TILE))])


def set_tag_count(path: Path, count: int) -> None:
    overwrite(path, offset_of(path, FULL), struct.pack("<H", count))


def directory_of_no_tags(path: Path) -> None:
    set_tag_count(path, 0)


def directory_that_claims_65535_tags(path: Path) -> None:
    set_tag_count(path, 65_535)


def directory_of_10000_tags(path: Path) -> None:
    tags = shared_tile_tags(1024, 256, 7, len(TILE))
    private: Tags = {40_000 + i: (LONG, [i]) for i in range(10_000)}
    write_raw(path, TILE, [{**tags, **private}])


def tile_table_that_claims_gigabytes(path: Path) -> None:
    set_count(path, 324, 2**31)


def tile_table_of_ten_million_entries(path: Path) -> None:
    """A sparse file: it takes no room on the disk, and 10⁹ bytes once it is read."""
    n = 10_000_000
    tags = shared_tile_tags(1024, 256, 7, len(TILE))
    write_raw(path, TILE, [tags])
    table = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(table + 4 * n)
    for code in (324, 325):
        overwrite(path, locate_entry(path, code) + 4, struct.pack("<II", n, table))


def tile_table_beyond_the_end(path: Path) -> None:
    overwrite(path, locate_entry(path, 324) + 8, struct.pack("<I", 2**30))


def no_tile_offsets(path: Path) -> None:
    rename_tag(path, 324, MISSING)


def no_byte_counts(path: Path) -> None:
    rename_tag(path, 325, MISSING)


def fewer_byte_counts_than_offsets(path: Path) -> None:
    set_count(path, 325, 10)


def fewer_tiles_than_the_size_needs(path: Path) -> None:
    for code in (324, 325):
        set_count(path, code, 10)


def more_tiles_than_the_size_needs(path: Path) -> None:
    set_size(path, 512, 512)


def no_width(path: Path) -> None:
    rename_tag(path, 256, MISSING)


def width_in_letters(path: Path) -> None:
    set_type(path, 256, ASCII)


def width_as_a_float(path: Path) -> None:
    set_type(path, 256, FLOAT)


def offsets_in_letters(path: Path) -> None:
    set_type(path, 324, ASCII)


def byte_counts_of_an_unknown_type(path: Path) -> None:
    set_type(path, 325, 99)


def bits_in_letters(path: Path) -> None:
    set_type(path, 258, ASCII)


def size_0(path: Path) -> None:
    set_size(path, 0, 0)


def size_1(path: Path) -> None:
    set_size(path, 1, 1)


def size_2_to_the_31(path: Path) -> None:
    set_size(path, 2**31, 2**31)


def size_2_to_the_32_less_1(path: Path) -> None:
    set_size(path, 2**32 - 1, 2**32 - 1)


def set_tile_size(path: Path, edge: int) -> None:
    for code in (322, 323):
        set_tag(path, code, edge)


def tile_of_no_size(path: Path) -> None:
    set_tile_size(path, 0)


def tile_of_one_px(path: Path) -> None:
    set_tile_size(path, 1)


def tile_of_65520_px(path: Path) -> None:
    set_tile_size(path, 65_520)


CASES: Cases = {
    chain_that_ends_where_it_began: UNREADABLE,
    directory_that_follows_itself: UNREADABLE,
    chain_that_leaves_the_file: UNREADABLE,
    chain_into_the_middle_of_a_tile: UNREADABLE,
    first_directory_at_0: UNREADABLE,
    first_directory_in_the_header: UNREADABLE,
    sub_directory_that_is_its_own_parent: WHOLE,
    sub_directory_past_the_end: UNREADABLE,
    sub_directories_by_the_hundred_thousand: UNSUPPORTED,
    two_thousand_images: UNSUPPORTED,
    directory_of_no_tags: UNREADABLE,
    directory_that_claims_65535_tags: UNREADABLE,
    directory_of_10000_tags: UNREADABLE,
    tile_table_that_claims_gigabytes: UNREADABLE,
    tile_table_of_ten_million_entries: UNREADABLE,
    tile_table_beyond_the_end: UNREADABLE,
    no_tile_offsets: UNREADABLE,
    no_byte_counts: UNREADABLE,
    fewer_byte_counts_than_offsets: UNREADABLE,
    fewer_tiles_than_the_size_needs: UNREADABLE,
    more_tiles_than_the_size_needs: UNREADABLE,
    no_width: UNREADABLE,
    width_in_letters: UNREADABLE,
    width_as_a_float: UNREADABLE,
    offsets_in_letters: UNREADABLE,
    byte_counts_of_an_unknown_type: UNREADABLE,
    bits_in_letters: UNREADABLE,
    size_0: UNREADABLE,
    size_1: UNREADABLE,
    size_2_to_the_31: TOO_LARGE,
    size_2_to_the_32_less_1: TOO_LARGE,
    tile_of_no_size: UNREADABLE,
    tile_of_one_px: UNREADABLE,
    tile_of_65520_px: UNREADABLE,
}
