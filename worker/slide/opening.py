"""From a path to a `Slide`: what the file is, who reads it, what its scale is.

Checks run from cheap to costly and from "can it be read" to "what does it mean", so a truncated
file is never reported as one without a resolution. Formats and readers:
docs/decisions/0004-readers.md.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.contract.failure import FailureCode, SlideError
from service.intake.signature import describe_signature, is_tiff, read_head
from worker.slide.agreement import check_agreement
from worker.slide.limits import check_size
from worker.slide.openslide_tiles import READER as OPENSLIDE
from worker.slide.openslide_tiles import OpenSlideTiles, detect_vendor
from worker.slide.protocol import Level, Slide, SlideInfo
from worker.slide.pyramid import TileSource
from worker.slide.resolution import StatedResolution, settle_resolution
from worker.slide.tiff_chain import check_directories
from worker.slide.tiff_layout import TiffLayout, check_plain, find_obstacle, read_layout
from worker.slide.tiff_tiles import READER as TIFFFILE
from worker.slide.tiff_tiles import TiffTiles
from worker.slide.tiled_slide import TiledSlide

_PLAIN_VENDORS: Final = frozenset({"generic-tiff", "aperio"})
"""OpenSlide's names for TIFFs that are one grid of tiles, without overlaps or a side car."""


@dataclass(frozen=True, slots=True)
class _Opened:
    source: TileSource
    format: str
    reader: str
    resolution: StatedResolution | None
    icc_profile: bool


def open_slide(
    path: Path,
    *,
    um_per_px: float | None = None,
    max_um_per_px: float | None = None,
    threads: int = 1,
    sha256: str | None = None,
) -> Slide:
    """Open a slide, whatever its format; the name and extension are not looked at.

    Args:
        path: the slide, or the main file of a format with several (MIRAX, DICOM, VMS), whose
            companions must lie where the scanner put them.
        um_per_px: micrometres per level-0 px; overrides the metadata.
        max_um_per_px: coarsest level-0 resolution to accept, e.g. the classifier's; None accepts
            any plausible one.
        threads: that decode tiles when many regions are read.
        sha256: of the file's bytes, where they were hashed before; the file then is not read
            through again, and what is given is believed. None: it is hashed now.

    Raises:
        SlideError: unsupported_format, slide_unreadable, slide_too_large, resolution_missing or
            resolution_unsupported.
    """
    with _reading_errors():
        if not path.is_file():
            raise SlideError(
                FailureCode.SLIDE_UNREADABLE,
                "there is no such file, or it is not a regular file: check the path",
            )
        head = read_head(path)
        opened = _open_tiff(path) if is_tiff(head) else _open_other(path, head)
        try:
            info = _describe(path, opened, um_per_px, max_um_per_px, sha256)
            slide = TiledSlide(info, opened.source, threads=threads)
            check_agreement(slide)
            return slide
        except BaseException:
            opened.source.close()
            raise


def hash_slide(path: Path) -> str:
    """SHA-256 of a file's bytes, hex; streamed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _describe(
    path: Path,
    opened: _Opened,
    um_per_px: float | None,
    max_um_per_px: float | None,
    sha256: str | None,
) -> SlideInfo:
    levels = opened.source.levels
    check_size(levels[0].size)
    settled, source = settle_resolution(opened.resolution, um_per_px, max_um_per_px)
    return SlideInfo(
        format=opened.format,
        reader=opened.reader,
        size=levels[0].size,
        um_per_px=settled,
        um_per_px_source=source,
        levels=tuple(Level(level.size, level.downsample) for level in levels if level.stored),
        sha256=sha256 or hash_slide(path),
        icc_profile=opened.icc_profile,
    )


def _open_tiff(path: Path) -> _Opened:
    check_directories(path)
    vendor = detect_vendor(path)
    if vendor is not None and vendor not in _PLAIN_VENDORS:
        return _open_with_openslide(path, vendor)
    layout = read_layout(path)
    check_plain(layout)
    obstacle = find_obstacle(layout)
    if obstacle is None:
        return _Opened(
            TiffTiles(path, layout), layout.format, TIFFFILE, layout.resolution, layout.icc_profile
        )
    if vendor is not None:
        return _fall_back(path, vendor, layout, obstacle)
    raise _unsupported_tiff(obstacle)


def _fall_back(path: Path, vendor: str, layout: TiffLayout, obstacle: str) -> _Opened:
    """OpenSlide for a plain TIFF that `TiffTiles` cannot read; its metadata are the layout's."""
    try:
        source = OpenSlideTiles(path)
    except SlideError as err:
        raise _unsupported_tiff(obstacle) from err
    return _Opened(source, layout.format, OPENSLIDE, layout.resolution, layout.icc_profile)


def _open_other(path: Path, head: bytes) -> _Opened:
    vendor = detect_vendor(path) if head else None
    if vendor is None:
        what = describe_signature(head) if head else "empty (0 bytes)"
        raise SlideError(
            FailureCode.UNSUPPORTED_FORMAT,
            f"the file is {what}, not a slide that can be read: send a pyramidal TIFF, SVS, NDPI,"
            " SCN, BIF, MIRAX or DICOM whole-slide image",
        )
    return _open_with_openslide(path, vendor)


def _open_with_openslide(path: Path, vendor: str) -> _Opened:
    source = OpenSlideTiles(path)
    return _Opened(source, vendor, OPENSLIDE, source.resolution, source.has_icc_profile)


def _unsupported_tiff(obstacle: str) -> SlideError:
    return SlideError(
        FailureCode.UNSUPPORTED_FORMAT,
        f"the TIFF has {obstacle}, which no reader here decodes: export it as a tiled, pyramidal"
        " RGB TIFF with JPEG compression",
    )


@contextmanager
def _reading_errors() -> Iterator[None]:
    """Errors of the file system, from any step of opening."""
    try:
        yield
    except OSError as err:
        reason = os.strerror(err.errno) if err.errno else "unknown"
        raise SlideError(
            FailureCode.SLIDE_UNREADABLE, f"the file cannot be read: {reason}; check the storage"
        ) from err
