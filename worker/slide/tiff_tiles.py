"""Tiles of a plain TIFF slide, decoded one at a time: JPEG by libjpeg-turbo, others by imagecodecs.

Where the file's levels lie further apart than a factor of two, JPEG tiles are also offered at a
half, quarter and eighth of their size, as levels that are not stored.

The one place where errors of decoding are translated.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from service.contract.failure import AnalysisError, FailureCode, RegionUnreadable
from worker.slide.codestream import find_defect
from worker.slide.geometry import Size
from worker.slide.jpeg import REDUCTIONS, decode_jpeg
from worker.slide.pyramid import TiledLevel, measure_downsample
from worker.slide.tiff_layout import HOSTILE, JPEG, JPEG2000, TiffImage, TiffLayout

READER: Final = f"tifffile {tifffile.__version__} with simplejpeg {simplejpeg.__version__}"

NEXT_LEVEL: Final = 0.99
"""A reduced level is offered if it is this much finer than the next one that is stored."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """An image of the file as one level: as it is, or reduced."""

    name: str
    image: TiffImage
    reduction: int
    level: TiledLevel


class TiffTiles:
    """A `TileSource` over a layout without obstacle."""

    def __init__(self, path: Path, layout: TiffLayout) -> None:
        self._planes = tuple(_plan_levels(layout))
        self._stream = path.open("rb")

    @property
    def levels(self) -> tuple[TiledLevel, ...]:
        """From full resolution down."""
        return tuple(plane.level for plane in self._planes)

    def read_tile(
        self, level: int, column: int, row: int, rows: int | None = None
    ) -> NDArray[np.uint8]:
        """One tile; white where the file leaves it out (byte count 0). See `TileSource`."""
        plane = self._planes[level]
        image, size, tile = plane.image, plane.level.size, plane.level.tile
        index = row * image.grid.width + column
        width = min(tile.width, size.width - column * tile.width)
        height = min(tile.height, size.height - row * tile.height)
        if image.byte_counts[index] == 0:
            return np.full((height, width, 3), 255, np.uint8)
        where = f"tile ({column}, {row}) of level {plane.name}"
        try:
            data = os.pread(self._stream.fileno(), image.byte_counts[index], image.offsets[index])
        except OSError as err:
            raise RegionUnreadable(f"{where} cannot be read: {err.strerror}") from err
        defect = _find_defect(image, data, column, row)
        if defect is not None:
            raise RegionUnreadable(f"{where} is damaged: {defect}")
        try:
            pixels = _decode(plane, data, index, rows)[:height, :width]
        except MemoryError as err:
            raise AnalysisError(
                FailureCode.OUT_OF_MEMORY, f"no memory to decode {where}: give the worker more"
            ) from err
        except HOSTILE as err:
            raise RegionUnreadable(f"{where} cannot be decoded by {READER}: {err}") from err
        needed = height if rows is None else min(rows, height)
        if len(pixels) < needed or pixels.shape[1:] != (width, 3) or pixels.dtype != np.uint8:
            raise RegionUnreadable(f"{where} is damaged: it decodes to shape {pixels.shape}")
        return np.ascontiguousarray(pixels)

    def close(self) -> None:
        """Release the file."""
        self._stream.close()


def _find_defect(image: TiffImage, data: bytes, column: int, row: int) -> str | None:
    if len(data) < image.byte_counts[row * image.grid.width + column]:
        return "the file ends within it"
    if image.compression not in {JPEG, JPEG2000}:
        return None
    size, tile = image.size, image.tile
    right, bottom = size.width - column * tile.width, size.height - row * tile.height
    return find_defect(data, tile, Size(min(tile.width, right), min(tile.height, bottom)))


def _decode(plane: _Plane, data: bytes, index: int, rows: int | None) -> NDArray[np.uint8]:
    image = plane.image
    if image.compression == JPEG:
        return decode_jpeg(
            data,
            tables=image.jpeg_tables,
            is_rgb=image.jpeg_is_rgb,
            reduction=plane.reduction,
            rows=rows,
        )
    decoded, _, _ = image.decode(data, index, jpegtables=image.jpeg_tables)
    pixels: NDArray[np.uint8] = np.asarray(decoded)[0]
    return pixels


def _plan_levels(layout: TiffLayout) -> Iterator[_Plane]:
    """Stored levels, and between two of them those that reduced decoding offers."""
    base = layout.base.size
    scales = [1.0, *(measure_downsample(base, image.size) for image in layout.images[1:])]
    for i, image in enumerate(layout.images):
        scale, following = scales[i], [*scales[1:], float("inf")][i]
        yield _Plane(str(i), image, 1, TiledLevel(image.size, scale, image.tile))
        for by in REDUCTIONS:
            if _is_reducible(image, by) and scale * by < NEXT_LEVEL * following:
                size, tile = _shrink(image.size, by), _shrink(image.tile, by)
                name = f"{i} at 1/{by}"
                yield _Plane(name, image, by, TiledLevel(size, scale * by, tile, stored=False))


def _is_reducible(image: TiffImage, by: int) -> bool:
    """Whether reduced tiles still join without a gap."""
    across = image.grid.width == 1 or image.tile.width % by == 0
    down = image.grid.height == 1 or image.tile.height % by == 0
    return image.compression == JPEG and across and down


def _shrink(size: Size, by: int) -> Size:
    return Size(-(-size.width // by), -(-size.height // by))
