"""Tiles of a plain TIFF slide, decoded by imagecodecs one at a time.

The one place where errors of decoding them are translated.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from service.contract.failure import AnalysisError, FailureCode, RegionUnreadable
from worker.slide.codestream import find_defect
from worker.slide.pyramid import TiledLevel, measure_downsample
from worker.slide.tiff_layout import HOSTILE, JPEG, JPEG2000, TiffImage, TiffLayout

READER: Final = f"tifffile {tifffile.__version__}"


class TiffTiles:
    """A `TileSource` over a layout without obstacle."""

    def __init__(self, path: Path, layout: TiffLayout) -> None:
        self._images = layout.images
        base = layout.base.size
        self._levels = tuple(
            TiledLevel(
                image.size,
                measure_downsample(base, image.size) if i else 1.0,
                image.tile,
            )
            for i, image in enumerate(layout.images)
        )
        self._stream = path.open("rb")

    @property
    def levels(self) -> tuple[TiledLevel, ...]:
        """From full resolution down."""
        return self._levels

    def read_tile(self, level: int, column: int, row: int) -> NDArray[np.uint8]:
        """One tile; white where the file leaves it out (byte count 0). See `TileSource`."""
        image = self._images[level]
        index = row * image.grid.width + column
        width = min(image.tile.width, image.size.width - column * image.tile.width)
        height = min(image.tile.height, image.size.height - row * image.tile.height)
        if image.byte_counts[index] == 0:
            return np.full((height, width, 3), 255, np.uint8)
        where = f"tile ({column}, {row}) of level {level}"
        try:
            data = os.pread(self._stream.fileno(), image.byte_counts[index], image.offsets[index])
        except OSError as err:
            raise RegionUnreadable(f"{where} cannot be read: {err.strerror}") from err
        defect = _find_defect(image, data, index)
        if defect is not None:
            raise RegionUnreadable(f"{where} is damaged: {defect}")
        try:
            decoded, _, _ = image.decode(data, index, jpegtables=image.jpeg_tables)
            pixels: NDArray[np.uint8] = np.asarray(decoded)[0, :height, :width]
        except MemoryError as err:
            raise AnalysisError(
                FailureCode.OUT_OF_MEMORY, f"no memory to decode {where}: give the worker more"
            ) from err
        except HOSTILE as err:
            raise RegionUnreadable(f"{where} cannot be decoded by {READER}: {err}") from err
        if pixels.shape != (height, width, 3) or pixels.dtype != np.uint8:
            raise RegionUnreadable(f"{where} is damaged: it decodes to shape {pixels.shape}")
        return np.ascontiguousarray(pixels)

    def close(self) -> None:
        """Release the file."""
        self._stream.close()


def _find_defect(image: TiffImage, data: bytes, index: int) -> str | None:
    if len(data) < image.byte_counts[index]:
        return "the file ends within it"
    if image.compression in {JPEG, JPEG2000}:
        return find_defect(data, image.tile)
    return None
