"""JPEGs of a scan's cells, one file for all: read at random, in constant time.

The file is a ZIP archive (APPNOTE 6.3.10) that any tool opens: `0000001.jpg` is cell 1, stored
without compression. Names have one length and offsets are always 64-bit, so the records of its
central directory have one size and lie in the order of the cells: the record of a cell is where
arithmetic says, and an archive of 100,000 patches is not searched for one. `worker.patch_store`
writes it.
"""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

PATCHES_FILE: Final = "patches.zip"
MAX_CELLS: Final = 9_999_999
"""As many as seven digits name."""
MAX_PATCH_BYTES: Final = 4 << 20
"""More than a JPEG of 400 × 400 px can have; what says otherwise is damaged."""

LOCAL: Final = struct.Struct("<4s5H3L2H")
"""Local file header: signature, version needed, flags, method, time, date, CRC-32, compressed and
full size, lengths of name and extra field. 4.3.7."""
ENTRY: Final = struct.Struct("<4s6H3L5H2L")
"""Record of the central directory: signature, version made by and needed, flags, method, time,
date, CRC-32, sizes, lengths of name, extra field and comment, disk, attributes, offset. 4.3.12."""
OFFSET: Final = struct.Struct("<2HQ")
"""Zip64 extra field that holds the offset alone: id 1, its size 8, the value. 4.5.3."""
END64: Final = struct.Struct("<4sQ2H2L4Q")
"""Zip64 end of central directory: signature, size of the rest, versions, disks, entries on this
disk and in all, size and offset of the directory. 4.3.14."""
LOCATOR: Final = struct.Struct("<4sLQL")
"""Where that record lies: signature, disk, offset, disks. 4.3.15."""
END: Final = struct.Struct("<4s4H2LH")
"""End of central directory: signature, disks, entries twice, size, offset, comment. 4.3.16."""

NAME_BYTES: Final = 11
RECORD_BYTES: Final = ENTRY.size + NAME_BYTES + OFFSET.size


class PatchMissing(LookupError):
    """No JPEG of this cell is kept: none was written, there is no such cell, or it is damaged."""


def patch_name(cell_id: int) -> str:
    """Name of a cell's patch in the archive."""
    return f"{cell_id:07d}.jpg"


def read_patch(result_dir: Path, cell_id: int) -> bytes:
    """The JPEG of a cell, from the results of its scan.

    Args:
        result_dir: as `DataRoot.result_of` names it.
        cell_id: as in the report, from 1.

    Raises:
        PatchMissing: see the class; the message says which and what to do.
    """
    try:
        with (result_dir / PATCHES_FILE).open("rb") as stream:
            return _read(stream, cell_id)
    except FileNotFoundError:
        raise PatchMissing(
            "this scan's patches were not kept: read them from its slide, or scan it again with"
            " keep_patches on"
        ) from None
    except (struct.error, OSError) as err:
        raise PatchMissing(
            f"the patch of cell {cell_id} cannot be read from the results: check the storage"
        ) from err


def _read(stream: BinaryIO, cell_id: int) -> bytes:
    count, directory = _find_directory(stream)
    if not 1 <= cell_id <= count:
        raise PatchMissing(f"there is no cell {cell_id}: this scan's cells are 1 to {count}")
    stream.seek(directory + (cell_id - 1) * RECORD_BYTES)
    record = stream.read(RECORD_BYTES)
    entry = ENTRY.unpack_from(record)
    crc, size = entry[7], entry[9]
    name = record[ENTRY.size : ENTRY.size + NAME_BYTES]
    _, _, offset = OFFSET.unpack_from(record, ENTRY.size + NAME_BYTES)
    if name != patch_name(cell_id).encode() or size > MAX_PATCH_BYTES:
        raise _damaged(cell_id)
    stream.seek(offset + LOCAL.size + NAME_BYTES)
    jpeg = stream.read(size)
    if len(jpeg) != size or zlib.crc32(jpeg) != crc:
        raise _damaged(cell_id)
    return jpeg


def _find_directory(stream: BinaryIO) -> tuple[int, int]:
    """Number of cells, and where the central directory begins."""
    stream.seek(-(END64.size + LOCATOR.size + END.size), 2)
    end = END64.unpack(stream.read(END64.size))
    if end[0] != b"PK\x06\x06":
        raise PatchMissing(f"{PATCHES_FILE} of this scan is damaged: scan the slide again")
    return end[7], end[9]


def _damaged(cell_id: int) -> PatchMissing:
    return PatchMissing(
        f"the stored patch of cell {cell_id} is damaged: scan the slide again, and check the disk"
    )
