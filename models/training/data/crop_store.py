"""Crops decoded once into one file, and read back row by row.

So 18,365 crops cost disk and not memory. What is read often the kernel keeps in its page cache,
once for all training processes of a machine, and drops when memory is short.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from models.errors import ModelError
from models.training.data.crops import read_crops
from models.training.data.manifest import LabelledCell

VERSION: Final = 1
"""Of what `read_crop` makes of a file; raise it when the pixels change."""

CHUNK: Final = 64
"""Crops decoded before the next are begun: bounds what waits in memory."""

SPARE_BYTES: Final = 2**30
"""Left free on the disk beside a store."""


@dataclass(frozen=True, slots=True, eq=False)
class CropStore:
    """Decoded crops of labelled cells.

    Attributes:
        cells: those whose file could be read, in the order they were given.
        unreadable: the others.
        path: of the file: a crop after the other, RGB bytes.
        px: width and height of a crop.
    """

    cells: tuple[LabelledCell, ...]
    unreadable: tuple[LabelledCell, ...]
    path: Path
    px: int

    @classmethod
    def open(
        cls,
        folder: Path,
        cells: Sequence[LabelledCell],
        *,
        field_um: float,
        px: int,
        threads: int = 2,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """The store of these cells below `folder`; made if it is not there.

        Args:
            folder: holds one directory a store, named by what is in it.
            cells: labelled crops.
            field_um: width of a crop, µm.
            px: width of a crop, px.
            threads: that decode.
            on_progress: told (done, total) while it is made.

        Raises:
            ModelError: the disk has no room, or not one file can be read.
        """
        home = folder / f"crops-{_digest(cells, field_um, px)}"
        home.mkdir(parents=True, exist_ok=True)
        # Of the processes that train on a machine the first makes the store, the others wait.
        with FileLock(home / "lock"):
            if not (home / "readable.json").is_file():
                _make(
                    home, cells, field_um=field_um, px=px, threads=threads, on_progress=on_progress
                )
        kept = json.loads((home / "readable.json").read_text())
        inside = set(kept)
        return cls(
            cells=tuple(cells[i] for i in kept),
            unreadable=tuple(cell for i, cell in enumerate(cells) if i not in inside),
            path=home / "crops.rgb",
            px=px,
        )

    def read(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Crops of these rows, in their order: shape (len(rows), px, px, 3), 0–255.

        Raises:
            OSError: the file is gone or too short.
        """
        crops = np.empty((len(rows), self.px, self.px, 3), np.uint8)
        size = self.px * self.px * 3
        with self.path.open("rb", buffering=0) as file:
            for crop, row in zip(crops, rows, strict=True):
                stored = os.pread(file.fileno(), size, int(row) * size)
                if len(stored) < size:
                    raise OSError(f"{self.path} ends before row {row}")
                crop.reshape(-1)[:] = np.frombuffer(stored, np.uint8)
        return crops


def choose_px(cells: Sequence[LabelledCell], *, field_um: float, view_px_per_um: float) -> int:
    """Width to keep crops at: a quarter more than the view's, but no more than the files have."""
    finest = min(cell.um_per_px for cell in cells)
    return max(1, round(field_um * min(1.25 * view_px_per_um, 1.0 / finest)))


def _digest(cells: Sequence[LabelledCell], field_um: float, px: int) -> str:
    """Of everything the pixels depend on; a file that changed has another size or time."""
    digest = hashlib.sha256(f"{VERSION} {field_um!r} {px}".encode())
    for cell in cells:
        try:
            status = cell.path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(f"{cell.path.absolute()} {cell.um_per_px!r} {state}\n".encode())
    return digest.hexdigest()[:16]


def _make(
    home: Path,
    cells: Sequence[LabelledCell],
    *,
    field_um: float,
    px: int,
    threads: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    wanted = len(cells) * px * px * 3
    free = shutil.disk_usage(home).free
    if wanted + SPARE_BYTES > free:
        raise ModelError(
            f"{len(cells)} crops of {px} px take {wanted / 1e9:.1f} GB and {home.parent} has"
            f" {free / 1e9:.1f} GB free: name a larger disk with --crops"
        )

    partial = home / "crops.partial"
    kept: list[int] = []
    with partial.open("wb") as file:
        for start in range(0, len(cells), CHUNK):
            chunk = cells[start : start + CHUNK]
            crops, readable = read_crops(chunk, field_um=field_um, px=px, threads=threads)
            crops.tofile(file)
            kept += [start + index for index in readable]
            if on_progress:
                on_progress(start + len(chunk), len(cells))
    if not kept:
        raise ModelError(f"not one of {len(cells)} files can be read, the first: {cells[0].path}")
    partial.replace(home / "crops.rgb")
    listing = home / "readable.partial"
    listing.write_text(json.dumps(kept))
    listing.replace(home / "readable.json")
