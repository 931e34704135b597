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
            " is damaged, or this is not a slide",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise SlideError(
            FailureCode.UNSUPPORTED_FORMAT,
            f"the image is {width} × {height} px, a slide has at least {MIN_SIDE_PX} px a side:"
            " this is a thumbnail, a label or a single cell; send the full-resolution scan",
        )
