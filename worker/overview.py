"""The slide at a glance: where was counted and where the cells lie."""

from collections.abc import Iterable
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.contract.failure import RegionUnreadable
from service.exports.palette import MARKER_COLOURS, Marker
from worker.region import CountableRegion
from worker.slide.geometry import Region
from worker.slide.protocol import Slide

MAX_EDGE_PX: Final = 1200
MAX_SOURCE_PX: Final = 4096
"""Most pixels of a level, along one edge, that one read may touch: bounds memory."""

UNREADABLE: Final = (200, 200, 200)
OUTLINE: Final = (0, 0, 0)
FADE: Final = 0.55
"""How far towards white the part of the slide that is not counted is drawn."""


def render_overview(
    slide: Slide, region: CountableRegion, points: Iterable[tuple[float, float, Marker]]
) -> bytes:
    """A picture of the whole slide: the counted region outlined, the rest faded, cells marked.

    Blasts are triangles, atypical cells diamonds, others dots, in `MARKER_COLOURS`. Parts that
    cannot be read are grey.

    Args:
        slide: whose label and macro images are never touched.
        region: where cells were counted.
        points: x and y of each cell, level-0 frame, and how to draw it.

    Returns:
        A JPEG, at most MAX_EDGE_PX on its longer side.
    """
    size = slide.info.size
    step_l0 = max(1.0, max(size.width, size.height) / MAX_EDGE_PX)
    pixels = _read_whole(slide, step_l0)
    inside = _sample_mask(region, pixels.shape[0], pixels.shape[1], step_l0)
    faded = pixels + (255.0 - pixels) * FADE
    pixels = np.where(inside[..., None], pixels, faded).astype(np.uint8)
    pixels[_outline(inside)] = OUTLINE

    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    by_importance = sorted(points, key=lambda point: -list(Marker).index(point[2]))
    for x, y, marker in by_importance:
        _draw_marker(draw, x / step_l0, y / step_l0, marker)
    stream = BytesIO()
    image.save(stream, "JPEG", quality=88, optimize=True, subsampling=0)
    return stream.getvalue()


def _read_whole(slide: Slide, step_l0: float) -> NDArray[np.uint8]:
    """The slide, one pixel every `step_l0` level-0 px, in blocks of one lattice."""
    info = slide.info
    width = max(1, round(info.size.width / step_l0))
    height = max(1, round(info.size.height / step_l0))
    finer = [level.downsample for level in info.levels if level.downsample <= step_l0 * 1.001]
    block = max(16, int(MAX_SOURCE_PX / (step_l0 / max(finer, default=1.0))))
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, block):
        for left in range(0, width, block):
            rows, cols = min(block, height - top), min(block, width - left)
            part = Region(left * step_l0, top * step_l0, cols * step_l0, rows * step_l0)
            try:
                read = slide.read(part, info.um_per_px * step_l0)
            except RegionUnreadable:
                pixels[top : top + rows, left : left + cols] = UNREADABLE
            else:
                pixels[top : top + rows, left : left + cols] = read
    return pixels


def _sample_mask(
    region: CountableRegion, height: int, width: int, step_l0: float
) -> NDArray[np.bool_]:
    """The countable region on the picture's pixel centres, shape (height, width)."""
    scale = step_l0 / region.step_l0
    rows = ((np.arange(height) + 0.5) * scale).astype(int).clip(0, region.mask.shape[0] - 1)
    cols = ((np.arange(width) + 0.5) * scale).astype(int).clip(0, region.mask.shape[1] - 1)
    sampled: NDArray[np.bool_] = region.mask[np.ix_(rows, cols)]
    return sampled


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels inside that touch the outside or the picture's edge, two pixels wide."""
    core = inside
    for _ in range(2):
        padded = np.pad(core, 1)
        core = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1] & core
    return inside & ~core


def _draw_marker(draw: ImageDraw.ImageDraw, x: float, y: float, marker: Marker) -> None:
    colour = MARKER_COLOURS[marker]
    match marker:
        case Marker.BLAST:
            corners = [(x, y - 10), (x + 9, y + 6), (x - 9, y + 6)]
            draw.polygon(corners, fill=colour, outline=(255, 255, 255))
        case Marker.ATYPICAL:
            corners = [(x, y - 8), (x + 8, y), (x, y + 8), (x - 8, y)]
            draw.polygon(corners, fill=colour, outline=(255, 255, 255))
        case Marker.OTHER:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour, outline=(255, 255, 255))
