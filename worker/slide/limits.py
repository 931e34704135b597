"""How large a slide may claim to be, and how small it may be.

A header costs nothing to forge and a damaged one can say anything, so sizes are checked before
anything is allocated. The limits come from glass: a slide is 26 × 76 mm (ISO 8037-1), which is
650,000 × 1,900,000 px at 0.04 µm/px, finer than any scanner in routine use.
"""

from typing import Final

from service.contract.failure import FailureCode, SlideError
from worker.slide.geometry import Size

MAX_SIDE_PX: Final = 2_000_000
MAX_AREA_PX: Final = 10**12
MIN_SIDE_PX: Final = 256
"""Two patches of 29 µm at 0.25 µm/px; anything smaller is a thumbnail, a label or one cell."""
MAX_TILE_PX: Final = 4096 * 4096
"""Largest tile or strip that is decoded at once: 48 MiB of RGB."""
MAX_TILES: Final = 1 << 22
"""Most tiles of an image: 524,288 px square in tiles of 256 px. A table costs 80 bytes a tile."""
MAX_STRIP_WIDTH_PX: Final = 32_768
"""Widest image that may come in strips: 6.5 mm at 0.2 µm/px."""
STRIP_BAND_ROWS: Final = 512
"""Rows that are read at once."""
MAX_BAND_PX: Final = 1 << 25
"""Px of the strips that such rows touch: 96 MiB of RGB."""


def check_size(size: Size) -> None:
    """Refuse a full-resolution image that no scanned slide can be.

    Raises:
        SlideError: slide_too_large or unsupported_format.
    """
    width, height = size.width, size.height
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_AREA_PX:
        raise SlideError(
            FailureCode.SLIDE_TOO_LARGE,
            f"the file says it is {width} × {height} px; the limit is {MAX_SIDE_PX} px a side and"
            f" {MAX_AREA_PX:.0e} px in all, more than a whole glass slide at 0.05 µm/px: the header"
            " is damaged, or this is not a slide; export it again",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise SlideError(
            FailureCode.UNSUPPORTED_FORMAT,
            f"the image is {width} × {height} px, a slide has at least {MIN_SIDE_PX} px a side:"
            " this is a thumbnail, a label or a single cell; send the full-resolution scan",
        )


def strip_fits(strip: Size) -> bool:
    """Whether strips are small enough to be read at random.

    Every read of some columns decodes whole strips, so what a band of them takes has to stay in
    memory from one read to the next. Without this limit 65,536 px square in strips of 256 rows was
    still being read when it was stopped after a minute; 16,384 blocks of three strips each, nearly
    all decoded anew, would take more than an hour.
    """
    band_px = strip.width * (STRIP_BAND_ROWS + 2 * strip.height)
    return strip.width <= MAX_STRIP_WIDTH_PX and band_px <= MAX_BAND_PX
