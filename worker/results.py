"""A scan's files, all or none.

Files are written to a hidden directory beside the target, flushed to disk, and that directory is
renamed into place. An earlier result is exchanged with the new one in a single step where the
file system can (Linux `renameat2`); elsewhere it is moved aside first, and for that moment a
reader finds no result, never half of one.

A directory that holds anything but a result's own files is refused, so that a mistyped target
never costs anybody's data.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from io import BytesIO
from pathlib import Path
from typing import Final, TextIO
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.contract.cell import Cell, DoubtfulObject
from service.contract.failure import NO_SPACE, AnalysisError, FailureCode
from service.contract.report import Report
from service.exports.csv import write_csv
from service.exports.doubtful import DOUBTFUL_FILE, write_doubtful
from service.exports.gallery import TOP_CELLS, Gallery
from service.exports.geojson import write_geojson
from service.exports.html import write_html
from service.exports.parquet import write_parquet
from service.patches import PATCHES_FILE
from worker.exchange import exchange_paths
from worker.patch_store import PatchStore

RESULT_FILES: Final = (
    "report.json",
    "cells.csv",
    "cells.parquet",
    "cells.geojson",
    DOUBTFUL_FILE,
    "report.html",
)
"""What every result holds; with patches kept, `PATCHES_FILE` as well."""
THUMBNAIL_PX: Final = 200
LEFTOVER_AGE_S: Final = 86_400
"""A hidden file or directory this old belongs to no living writer: writing takes seconds."""


class TargetOccupied(FileExistsError):
    """The target holds something that is not a scan's result."""


@dataclass(frozen=True, slots=True)
class Results:
    """What is written of one scan.

    Attributes:
        report: the scan's report.
        cells: all of them, in the order of their ids.
        galleries: from `choose_gallery`.
        patches: RGB, shape (400, 400, 3) or any other, 0–255, by cell id; a cell of a gallery
            without a patch is shown as such.
        doubtful: what may be a leukocyte and is not counted, the likeliest first.
        doubtful_patches: as `patches`, of the first of these, by index.
        overview_jpeg: from `render_overview`; None when there is none.
        patch_store: numbered JPEGs of all cells, from `open_patch_store`; None keeps none.
    """

    report: Report
    cells: Sequence[Cell]
    galleries: tuple[Gallery, ...]
    patches: Mapping[int, NDArray[np.uint8]]
    overview_jpeg: bytes | None
    doubtful: tuple[DoubtfulObject, ...] = ()
    doubtful_patches: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)
    patch_store: PatchStore | None = None


def check_target(target: Path) -> None:
    """Refuse, before hours of work, a target that `write_results` would refuse after them.

    Raises:
        TargetOccupied: it is a file, or a directory that holds other files than a result's.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise TargetOccupied(f"{target.name!r} is a file; name a directory for the results")
    own = {*RESULT_FILES, PATCHES_FILE}
    foreign = sorted(path.name for path in target.iterdir() if path.name not in own)
    if foreign:
        raise TargetOccupied(
            f"{target.name!r} holds {', '.join(foreign[:3])}{' …' if len(foreign) > 3 else ''}, "
            "which is no scan's result; name a new directory or an earlier result's"
        )


def open_patch_store(target: Path) -> PatchStore:
    """A file for the patches of a scan whose results will be written to `target`.

    It is hidden beside the target, so that `write_results` need not copy it.
    """
    target = target.resolve()
    return PatchStore(_name_beside(target))


def write_results(target: Path, results: Results) -> None:
    """Write RESULT_FILES into the directory `target`, replacing an earlier result as a whole.

    Patches that were kept move in beside them.
    Missing parents are made; a symbolic link is followed. On any error the target is as it was.

    Raises:
        TargetOccupied: see `check_target`.
        AnalysisError: `storage_full`.
    """
    target = target.resolve()
    check_target(target)
    partial_dir = _name_beside(target)
    try:
        partial_dir.mkdir(parents=True)
        _remove_leftovers(target)
        _write_files(partial_dir, results)
        _put_in_place(partial_dir, target)
    except OSError as err:
        if err.errno in NO_SPACE:
            raise AnalysisError(
                FailureCode.STORAGE_FULL,
                "The disk for results is full; nothing was written. Free space and scan again.",
            ) from err
        raise
    finally:
        shutil.rmtree(partial_dir, ignore_errors=True)


def encode_thumbnail(patch: NDArray[np.uint8]) -> bytes:
    """A patch as a JPEG of THUMBNAIL_PX edge, for the HTML report."""
    stream = BytesIO()
    image = Image.fromarray(patch).resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    image.save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def _write_files(directory: Path, results: Results) -> None:
    report, cells, unsure = results.report, results.cells, results.doubtful_patches

    def create(name: str) -> TextIO:
        return (directory / name).open("x", encoding="utf-8", newline="")

    with create("report.json") as stream:
        stream.write(report.model_dump_json(indent=2) + "\n")
    with create("cells.csv") as stream:
        write_csv(cells, stream)
    with (directory / "cells.parquet").open("xb") as sink:
        write_parquet(report, cells, sink)
    with create("cells.geojson") as stream:
        write_geojson(report, cells, results.doubtful, stream)
    with create(DOUBTFUL_FILE) as stream:
        write_doubtful(results.doubtful, stream)
    thumbnails = {cell_id: encode_thumbnail(patch) for cell_id, patch in results.patches.items()}
    with create("report.html") as stream:
        write_html(
            report,
            results.galleries,
            thumbnails,
            results.overview_jpeg,
            stream,
            doubtful=[
                (one, encode_thumbnail(unsure[index]) if index in unsure else None)
                for index, one in enumerate(results.doubtful[:TOP_CELLS])
            ],
        )
    if results.patch_store is not None:
        results.patch_store.place(directory / PATCHES_FILE)
    for path in directory.iterdir():
        _sync(path)
    _sync(directory)


def _put_in_place(partial_dir: Path, target: Path) -> None:
    """Give the finished directory its name; `partial_dir` then is gone or holds what was there."""
    if not target.exists():
        partial_dir.rename(target)
    elif not exchange_paths(partial_dir, target):
        aside = _name_beside(target)
        target.rename(aside)
        try:
            partial_dir.rename(target)
        except OSError:
            aside.rename(target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(target.parent)


def _name_beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial-{uuid4().hex}")


def _remove_leftovers(target: Path) -> None:
    """Remove what a killed writer of this target left behind."""
    for path in target.parent.glob(f".{escape(target.name)}.partial-*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime <= LEFTOVER_AGE_S:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or a directory's names, before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
