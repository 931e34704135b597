"""A TIFF's directories, walked without trust before any library touches them.

libtiff and tifffile both stop quietly where a chain of directories breaks, so a truncated pyramid
looks like a smaller one; and a chain that loops, or a tag that claims gigabytes, costs them time
and memory without bound. This walk costs a few reads and refuses all that. Layouts: TIFF 6.0
section 2, BigTIFF (tag counts and offsets of 8 bytes), and Hamamatsu NDPI (classic TIFF whose
links to directories are 8 bytes long).
"""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import FailureCode, SlideError
from worker.slide.limits import MAX_TILE_PX, MAX_TILES

MAX_DIRECTORIES: Final = 1024
MAX_TAGS: Final = 4096
MAX_VALUE_BYTES: Final = 256 << 20

_TILE_WIDTH: Final = 322
_TILE_LENGTH: Final = 323
_SUB_IFDS: Final = 330
_NDPI: Final = 65420
_EXTENTS: Final = ((273, 279), (324, 325))
"""Offsets and byte counts of strips, and of tiles."""
_TYPE_BYTES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
_UNSIGNED: Final = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tag of a directory; `field` holds its values, or where they lie if they do not fit."""

    tag: int
    kind: int
    count: int
    field: bytes

    @property
    def value_bytes(self) -> int:
        return _TYPE_BYTES.get(self.kind, 0) * self.count


def check_directories(path: Path) -> None:
    """Walk every directory of a TIFF, sub-directories included.

    Raises:
        SlideError: slide_unreadable if a directory, a table or a tile lies beyond the end of the
            file, the chain loops or a size is absurd; unsupported_format if there are more
            directories than a slide has.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            _Walk(stream, path.stat().st_size).run()
        except struct.error as err:
            raise damaged_tiff("a directory is cut off by the end of the file") from err


def damaged_tiff(how: str) -> SlideError:
    """The failure of a TIFF that is not whole."""
    return SlideError(
        FailureCode.SLIDE_UNREADABLE,
        f"the TIFF is truncated or damaged: {how}; copy or export the slide again",
    )


def _too_many_images() -> SlideError:
    return SlideError(
        FailureCode.UNSUPPORTED_FORMAT,
        f"the TIFF holds more than {MAX_DIRECTORIES} images: a slide is one image with its"
        " pyramid; export the brightfield plane as a pyramidal TIFF",
    )


class _Walk:
    def __init__(self, stream: IO[bytes], file_bytes: int) -> None:
        self._stream = stream
        self._file_bytes = file_bytes
        head = self._read_at(0, 16)
        self._order = "<" if head[:2] == b"II" else ">"
        (version,) = self._unpack("H", head[2:4])
        self._big = version == 43
        self._link = "Q" if self._big else "I"
        (self._first,) = self._unpack(self._link, head[8:16] if self._big else head[4:8])
        if not self._big and any(
            entry.tag == _NDPI for entry in self._read_entries(self._first)[0]
        ):
            self._link = "Q"
            (self._first,) = self._unpack(self._link, head[4:12])

    def run(self) -> None:
        chain = set[int]()
        offset, visited = self._first, 0
        while offset:
            if offset in chain:
                raise damaged_tiff("its chain of directories runs in a circle")
            chain.add(offset)
            offset, sub_offsets = self._check_directory(offset)
            for sub_offset in sub_offsets:
                self._check_directory(sub_offset)
            visited += 1 + len(sub_offsets)
            if visited > MAX_DIRECTORIES:
                raise _too_many_images()

    def _check_directory(self, offset: int) -> tuple[int, list[int]]:
        """Offset of the next directory, 0 after the last, and offsets of the sub-directories."""
        entries, link_at = self._read_entries(offset)
        tags = {entry.tag: entry for entry in entries}
        for entry in entries:
            if entry.value_bytes > MAX_VALUE_BYTES:
                raise damaged_tiff(f"tag {entry.tag} claims {entry.value_bytes} bytes")
        for offsets, byte_counts in _EXTENTS:
            if offsets in tags and byte_counts in tags:
                self._check_extent(tags[offsets], tags[byte_counts])
        if _TILE_WIDTH in tags and _TILE_LENGTH in tags:
            width, length = (self._read_first(tags[tag]) for tag in (_TILE_WIDTH, _TILE_LENGTH))
            if width * length > MAX_TILE_PX:
                raise damaged_tiff(
                    f"a tile is said to have {width} × {length} px; the limit is {MAX_TILE_PX} px"
                )
        sub_offsets: list[int] = []
        if _SUB_IFDS in tags:
            if tags[_SUB_IFDS].count > MAX_DIRECTORIES:
                raise _too_many_images()
            sub_offsets = self._read_values(tags[_SUB_IFDS]).tolist()
        link_bytes = struct.calcsize(f"={self._link}")
        (following,) = self._unpack(self._link, self._read_at(link_at, link_bytes))
        return following, sub_offsets

    def _check_extent(self, offsets: _Entry, byte_counts: _Entry) -> None:
        if offsets.count > MAX_TILES:
            raise damaged_tiff(
                f"an image is said to have {offsets.count} tiles; the limit is {MAX_TILES}"
            )
        starts, sizes = self._read_values(offsets), self._read_values(byte_counts)
        shared = min(len(starts), len(sizes))
        if shared == 0:
            return
        starts, sizes = starts[:shared], sizes[:shared]
        limit = np.uint64(self._file_bytes)
        beyond = (starts > limit) | (sizes > limit) | (starts + sizes > limit)
        if beyond.any():
            raise damaged_tiff(
                f"it ends at byte {self._file_bytes}, {int(beyond.sum())} of {shared} tiles of an"
                " image lie beyond"
            )

    def _read_entries(self, offset: int) -> tuple[list[_Entry], int]:
        """The tags of a directory, and where its link to the next one lies."""
        if not 0 < offset < self._file_bytes:
            raise damaged_tiff(f"a directory is said to lie at byte {offset} of {self._file_bytes}")
        head, layout = (8, "HHQ8s") if self._big else (2, "HHI4s")
        (count,) = self._unpack("Q" if self._big else "H", self._read_at(offset, head))
        if not 0 < count <= MAX_TAGS:
            raise damaged_tiff(f"a directory claims {count} tags")
        size = struct.calcsize(self._order + layout)
        data = self._read_at(offset + head, size * count)
        entries = [
            _Entry(*self._unpack(layout, data[i * size : (i + 1) * size])) for i in range(count)
        ]
        return entries, offset + head + size * count

    def _read_first(self, entry: _Entry) -> int:
        values = self._read_values(replace(entry, count=min(entry.count, 1)))
        return int(values[0]) if len(values) else 0

    def _read_values(self, entry: _Entry) -> NDArray[np.uint64]:
        """The values of a tag of whole numbers, shape (count,); empty for other types."""
        kind = _UNSIGNED.get(entry.kind)
        if kind is None:
            return np.empty(0, np.uint64)
        size = entry.value_bytes
        data = entry.field[:size]
        if size > len(entry.field):
            (at,) = self._unpack("Q" if self._big else "I", entry.field)
            data = self._read_at(at, size) if at + size <= self._file_bytes else b""
            if len(data) < size:
                raise damaged_tiff(f"the values of tag {entry.tag} lie beyond the end of the file")
        return np.frombuffer(data, self._order + kind).astype(np.uint64)

    def _read_at(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(size)

    def _unpack(self, layout: str, data: bytes) -> tuple[Any, ...]:
        return struct.unpack(self._order + layout, data)
