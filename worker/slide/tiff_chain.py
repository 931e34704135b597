"""A TIFF's directories, walked without trust before any library touches them.

libtiff and tifffile both stop quietly where a chain of directories breaks, so a truncated pyramid
looks like a smaller one; and a chain that loops, or a tag that claims gigabytes, costs them time
and memory without bound. This walk costs a few reads and refuses all three. Layouts: TIFF 6.0
section 2, BigTIFF (tag counts and offsets of 8 bytes), and Hamamatsu NDPI (classic TIFF whose
offsets to directories are 8 bytes long).
"""

import struct
from pathlib import Path
from typing import IO, Any, Final

from service.contract.failure import FailureCode, SlideError

MAX_DIRECTORIES: Final = 1024
MAX_TAGS: Final = 4096
MAX_VALUE_BYTES: Final = 256 << 20

_SUB_IFDS: Final = 330
_NDPI: Final = 65420
_TILE_TABLES: Final = frozenset({273, 279, 324, 325})
_TYPE_BYTES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip


def check_directories(path: Path) -> None:
    """Walk every directory of a TIFF, sub-directories included.

    Raises:
        SlideError: slide_unreadable if the chain leaves the file, loops or holds absurd tags;
            unsupported_format if there are more directories than a slide has.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            _Walk(stream, path.stat().st_size).run()
        except struct.error as err:
            raise _damaged("a directory is cut off by the end of the file") from err


class _Walk:
    def __init__(self, stream: IO[bytes], file_bytes: int) -> None:
        self._stream = stream
        self._file_bytes = file_bytes
        head = self._read_at(0, 16)
        self._order = "<" if head[:2] == b"II" else ">"
        (version,) = self._unpack("H", head[2:4])
        self._big = version == 43
        if self._big:
            (self._first,) = self._unpack("Q", head[8:16])
        else:
            (self._first,) = self._unpack("I", head[4:8])
            if self._is_ndpi():
                (self._first,) = self._unpack("Q", head[4:12])
        self._wide_links = self._big or self._is_ndpi()

    def run(self) -> None:
        chain = set[int]()
        offset, visited = self._first, 0
        while offset:
            if offset in chain:
                raise _damaged("its chain of directories runs in a circle")
            chain.add(offset)
            offset, sub_offsets = self._read_directory(offset)
            for sub_offset in sub_offsets:
                self._read_directory(sub_offset)
            visited += 1 + len(sub_offsets)
            if visited > MAX_DIRECTORIES:
                raise SlideError(
                    FailureCode.UNSUPPORTED_FORMAT,
                    f"the TIFF holds more than {MAX_DIRECTORIES} images: a slide is one image with"
                    " its pyramid; export the brightfield plane as a pyramidal TIFF",
                )

    def _read_directory(self, offset: int) -> tuple[int, tuple[int, ...]]:
        """Offset of the next directory, 0 after the last, and offsets of the sub-directories."""
        tags, link_at = self._read_tags(offset)
        sub_offsets: tuple[int, ...] = ()
        for tag, kind, count, value in tags:
            value_bytes = _TYPE_BYTES.get(kind, 0) * count
            if value_bytes > MAX_VALUE_BYTES:
                raise _damaged(f"tag {tag} claims {value_bytes} bytes")
            inline = value_bytes <= len(value)
            at = 0 if inline else self._unpack("Q" if self._big else "I", value)[0]
            if not inline and tag in _TILE_TABLES and at + value_bytes > self._file_bytes:
                raise _damaged("its table of tiles lies beyond the end of the file")
            if tag == _SUB_IFDS and 0 < count <= MAX_DIRECTORIES:
                data = value[:value_bytes] if inline else self._read_at(at, value_bytes)
                width = "Q" if value_bytes == 8 * count else "I"
                sub_offsets = self._unpack(f"{count}{width}", data)
        (following,) = (
            self._unpack("Q", self._read_at(link_at, 8))
            if self._wide_links
            else self._unpack("I", self._read_at(link_at, 4))
        )
        return following, sub_offsets

    def _read_tags(self, offset: int) -> tuple[list[tuple[int, int, int, bytes]], int]:
        """(tag, type, count, value field) of a directory, and where its link to the next lies."""
        if not 0 < offset < self._file_bytes:
            raise _damaged(f"a directory is said to lie at byte {offset} of {self._file_bytes}")
        head, layout = (8, "HHQ8s") if self._big else (2, "HHI4s")
        (count,) = self._unpack("Q" if self._big else "H", self._read_at(offset, head))
        if not 0 < count <= MAX_TAGS:
            raise _damaged(f"a directory claims {count} tags")
        size = struct.calcsize(self._order + layout)
        data = self._read_at(offset + head, size * count)
        tags = [self._unpack(layout, data[i * size : (i + 1) * size]) for i in range(count)]
        return tags, offset + head + size * count

    def _is_ndpi(self) -> bool:
        if self._big or not 0 < self._first < self._file_bytes:
            return False
        tags, _ = self._read_tags(self._first)
        return any(tag == _NDPI for tag, *_ in tags)

    def _read_at(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(size)

    def _unpack(self, layout: str, data: bytes) -> tuple[Any, ...]:
        return struct.unpack(self._order + layout, data)


def _damaged(how: str) -> SlideError:
    return SlideError(
        FailureCode.SLIDE_UNREADABLE,
        f"the TIFF is truncated or damaged: {how}; copy or export the slide again",
    )
