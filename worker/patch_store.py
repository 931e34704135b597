"""Writes a JPEG of every cell while cells are classified; `service.patches` says how it is kept.

A cell gets its number only when all are known, so patches are appended in the order they are read,
each under a name still blank. `number` fills in the names and appends the directory: nothing is
copied, and memory is 24 bytes a cell. The same slide, networks and parameters give the same bytes.
"""

import os
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import NO_SPACE, AnalysisError, FailureCode
from service.patches import (
    END,
    END64,
    ENTRY,
    LOCAL,
    LOCATOR,
    MAX_CELLS,
    NAME_BYTES,
    OFFSET,
    RECORD_BYTES,
    patch_name,
)
from worker.slide.jpeg import encode_jpeg

PATCH_QUALITY: Final = 90
"""Of the JPEG, colours at full resolution: see docs/decisions/0016."""

_VERSION: Final = 45
"""Version needed: Zip64."""
_DATE: Final = (1 << 5) | 1
"""1 January 1980, the format's first day: the bytes must not depend on when they were written."""
_BLANK: Final = b"-" * NAME_BYTES


class PatchStore:
    """A file of patches in the making; it is removed on `close` unless it was placed.

    Args:
        path: of the file, which must not exist; on the file system of the results.

    Raises:
        AnalysisError: storage_full, from any method that writes.
    """

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb")
        except OSError as err:
            raise _translate(err) from err
        self._at = 0
        self._numbered = False
        self._cells = array("q")
        self._offsets = array("q")
        self._sizes = array("I")
        self._crcs = array("I")

    def __len__(self) -> int:
        """Patches kept so far."""
        return len(self._cells)

    def keep(self, cells: Sequence[int], patches: NDArray[np.uint8]) -> None:
        """Append patches.

        Args:
            cells: an index of each, in any order; `number` ranks patches by it.
            patches: RGB, shape (len(cells), height, width, 3), 0–255.
        """
        for cell, patch in zip(cells, patches, strict=True):
            jpeg = encode_jpeg(patch, PATCH_QUALITY)
            crc = zlib.crc32(jpeg)
            sizes = len(jpeg), len(jpeg), NAME_BYTES, 0
            header = LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE, crc, *sizes)
            self._write(header + _BLANK + jpeg)
            self._cells.append(cell)
            self._offsets.append(self._at)
            self._sizes.append(len(jpeg))
            self._crcs.append(crc)
            self._at += len(header) + NAME_BYTES + len(jpeg)

    def number(self, order: NDArray[np.intp]) -> None:
        """Name every patch by its cell's id and finish the file.

        Args:
            order: shape (N,): cell i + 1 is the order[i]-th of the kept cells, counted in the
                order of their indices; `CellTable.order` of a table of these cells.

        Raises:
            ValueError: not every kept patch belongs to one cell.
        """
        if not np.array_equal(np.sort(order), np.arange(len(self))) or len(self) > MAX_CELLS:
            raise ValueError(f"{len(order)} cells are numbered, {len(self)} patches are kept")
        written = np.argsort(np.frombuffer(self._cells, np.int64), kind="stable")[order]
        directory = bytearray()
        try:
            self._file.flush()
            for cell_id, index in enumerate(written.tolist(), start=1):
                name = patch_name(cell_id).encode()
                offset, size, crc = self._offsets[index], self._sizes[index], self._crcs[index]
                os.pwrite(self._file.fileno(), name, offset + LOCAL.size)
                directory += _record(name, offset, size, crc)
            self._file.write(directory + _ending(len(self), len(directory), self._at))
            self._file.flush()
        except OSError as err:
            raise _translate(err) from err
        self._numbered = True

    def place(self, target: Path) -> None:
        """Give the finished file its name, on its own file system; it is the caller's then.

        Raises:
            ValueError: the patches are not numbered, or the file was placed before.
        """
        if self._path is None or not self._numbered:
            raise ValueError("only a numbered file of patches can be placed, and once")
        self._file.close()
        self._path.rename(target)
        self._path = None

    def close(self) -> None:
        """Remove the file, unless it was placed."""
        self._file.raw.close()  # what is buffered is of no use, and may not fit the disk
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as err:
            raise _translate(err) from err


def _record(name: bytes, offset: int, size: int, crc: int) -> bytes:
    """A record of the central directory; an ordinary file for its owner, readable by others."""
    lengths = NAME_BYTES, OFFSET.size, 0
    made_by = 3 << 8 | _VERSION  # Unix
    record = (
        ENTRY.pack(
            *(b"PK\x01\x02", made_by, _VERSION, 0, 0, 0, _DATE, crc, size, size),
            *(*lengths, 0, 0, 0o100644 << 16, 0xFFFFFFFF),
        )
        + name
        + OFFSET.pack(1, 8, offset)
    )
    assert len(record) == RECORD_BYTES
    return record


def _ending(count: int, size: int, offset: int) -> bytes:
    """Everything behind the central directory."""
    end64 = END64.pack(
        *(b"PK\x06\x06", END64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, offset)
    )
    locator = LOCATOR.pack(b"PK\x06\x07", 0, offset + size, 1)
    few = min(count, 0xFFFF)
    return end64 + locator + END.pack(b"PK\x05\x06", 0, 0, few, few, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def _translate(err: OSError) -> Exception:
    if err.errno in NO_SPACE:
        return AnalysisError(
            FailureCode.STORAGE_FULL,
            "The disk for results is full; no patches were kept. Free space and scan again, or scan"
            " without keeping patches.",
        )
    return err
