"""Headers that lie, files that end early, and BigTIFFs with offsets beyond any disk."""

import struct
from pathlib import Path

from tests.integration.hostile.directories import offset_of
from tests.integration.hostile.outcomes import UNREADABLE, UNSUPPORTED, Cases
from tests.integration.hostile.sound import FULL, locate_entry, write_sound
from tests.slide_files import overwrite, set_tag


def big_tiff(path: Path) -> Path:
    return write_sound(path, bigtiff=True)


def big_tiff_with_a_directory_at_2_to_the_60(path: Path) -> None:
    overwrite(big_tiff(path), 8, struct.pack("<Q", 2**60))


def big_tiff_with_a_tile_at_2_to_the_60(path: Path) -> None:
    set_tag(big_tiff(path), 324, 2**60, item=5)


def big_tiff_with_a_table_at_2_to_the_60(path: Path) -> None:
    overwrite(big_tiff(path), locate_entry(path, 324) + 12, struct.pack("<Q", 2**60))


def big_tiff_of_2_to_the_60_tags(path: Path) -> None:
    overwrite(big_tiff(path), offset_of(path, FULL), struct.pack("<Q", 2**60))


def big_tiff_with_a_tile_whose_end_overflows(path: Path) -> None:
    big_tiff(path)
    set_tag(path, 324, 2**64 - 1, item=5)


def big_tiff_with_offsets_of_4_bytes(path: Path) -> None:
    """The header says how wide an offset is; anything but 8 is not defined."""
    overwrite(big_tiff(path), 4, struct.pack("<H", 4))


def keep(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def cut_after_the_magic(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4])


def cut_after_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8])


def cut_after_a_thousandth(path: Path) -> None:
    keep(path, 0.001)


def cut_in_the_middle(path: Path) -> None:
    keep(path, 0.5)


def cut_near_the_end(path: Path) -> None:
    keep(path, 0.99)


def byte_order_of_the_other_kind(path: Path) -> None:
    overwrite(path, 0, b"MM\0*")


def byte_order_of_no_kind(path: Path) -> None:
    overwrite(path, 0, b"XX")


def version_44(path: Path) -> None:
    overwrite(path, 2, struct.pack("<H", 44))


CASES: Cases = {
    big_tiff_with_a_directory_at_2_to_the_60: UNREADABLE,
    big_tiff_with_a_tile_at_2_to_the_60: UNREADABLE,
    big_tiff_with_a_table_at_2_to_the_60: UNREADABLE,
    big_tiff_of_2_to_the_60_tags: UNREADABLE,
    big_tiff_with_a_tile_whose_end_overflows: UNREADABLE,
    big_tiff_with_offsets_of_4_bytes: UNREADABLE,
    cut_after_the_magic: UNREADABLE,
    cut_after_the_header: UNREADABLE,
    cut_after_a_thousandth: UNREADABLE,
    cut_in_the_middle: UNREADABLE,
    cut_near_the_end: UNREADABLE,
    byte_order_of_the_other_kind: UNREADABLE,
    byte_order_of_no_kind: UNSUPPORTED,
    version_44: UNSUPPORTED,
}
