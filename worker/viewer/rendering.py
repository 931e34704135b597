"""Tiles and patches of an open slide. Its label and macro images are never touched: `Slide` has
none."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.overview import UNREADABLE
from worker.patch_store import PATCH_QUALITY
from worker.patches import patch_region
from worker.slide.geometry import Region
from worker.slide.jpeg import encode_jpeg
from worker.slide.protocol import Slide
from worker.slide.resampling import plan_taps, resample
from worker.slide.tiled_slide import LEVEL_TOLERANCE, MAX_STEP
from worker.viewer.deep_zoom import DeepZoom, DeepZoomTile

MAX_SOURCE_PX: Final = 1 << 27
"""Most px that are decoded for one tile: OpenSlide takes 7 s for them, JPEG tiles read directly 1 s
(20 and 136 Mpx/s a core, docs/benchmarks.md)."""
SMALLEST_PX: Final = 64
"""Parts of a tile this small are grey as a whole if any of their px cannot be read."""


class TileTooCostly(Exception):
    """So many px would be decoded for a tile that it could not be had in time."""


def render_tile(slide: Slide, level: int, column: int, row: int) -> bytes:
    """A tile of the slide's Deep Zoom pyramid, a JPEG; what cannot be decoded is grey.

    Raises:
        TileOutOfRange: the pyramid has no such tile.
        TileTooCostly: the slide has no level coarse enough for it.
    """
    tile = DeepZoom(slide.info.size).locate(level, column, row)
    _check_cost(slide, tile)
    pixels = np.empty((tile.size.height, tile.size.width, 3), np.uint8)
    _fill(slide, tile.region, tile.step_l0, pixels)
    return encode_jpeg(pixels, PATCH_QUALITY)


def read_patch_pixels(
    slide: Slide, x_px: float, y_px: float, *, patch_um: float, patch_px: int
) -> NDArray[np.uint8]:
    """The square around a cell as the classifier sees it: RGB, (patch_px, patch_px, 3), 0–255.

    Raises:
        RegionUnreadable: it cannot be decoded.
    """
    region = patch_region((x_px, y_px), patch_px, patch_um, slide.info.um_per_px)
    return slide.read(region, patch_um / patch_px)


def _check_cost(slide: Slide, tile: DeepZoomTile) -> None:
    size = slide.info.size
    width, height = min(tile.region.width, size.width), min(tile.region.height, size.height)
    source_px = width * height / _finer_downsample(slide, tile.step_l0) ** 2
    if source_px > MAX_SOURCE_PX:
        raise TileTooCostly(
            f"{source_px / 1e6:.1f} million px would be decoded for this tile, at most"
            f" {MAX_SOURCE_PX / 1e6:.1f} million are: the slide has no overview; zoom in, or export"
            " it as a pyramid"
        )


def _finer_downsample(slide: Slide, step_l0: int) -> float:
    """Of the level that a read of this step decodes."""
    fine = [level.downsample for level in slide.info.levels]
    return max(by for by in fine if by <= step_l0 * (1 + LEVEL_TOLERANCE))


def _fill(slide: Slide, region: Region, step_l0: int, pixels: NDArray[np.uint8]) -> None:
    """Read a region into an array of its size, in ever smaller parts where it is damaged."""
    try:
        pixels[:] = _read(slide, region, step_l0)
    except RegionUnreadable:
        height, width = pixels.shape[:2]
        if max(height, width) <= SMALLEST_PX:
            pixels[:] = UNREADABLE
            return
        for rows in _halves(height):
            for columns in _halves(width):
                part = Region(
                    region.x + columns.start * step_l0,
                    region.y + rows.start * step_l0,
                    float(len(columns) * step_l0),
                    float(len(rows) * step_l0),
                )
                window = pixels[rows.start : rows.stop, columns.start : columns.stop]
                _fill(slide, part, step_l0, window)


def _read(slide: Slide, region: Region, step_l0: int) -> NDArray[np.uint8]:
    """Pixels of a region, averaged in two steps where one read may not go so far.

    That is where a level of a few px is drawn from one of many: what is read between has fewer than
    1,000 px a side.
    """
    further = 1
    while step_l0 / further / _finer_downsample(slide, step_l0) > MAX_STEP:
        further *= 2
    pixels = slide.read(region, slide.info.um_per_px * step_l0 / further)
    if further == 1:
        return pixels
    rows, columns = (plan_taps(0.0, further, side // further) for side in pixels.shape[:2])
    return resample(pixels, rows, columns)


def _halves(length: int) -> list[range]:
    middle = (length + 1) // 2
    return [part for part in (range(middle), range(middle, length)) if len(part)]
