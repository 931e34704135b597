"""JPEG by libjpeg-turbo: tiles of a TIFF decoded at full size or at a half, quarter or eighth;
patches and viewer tiles encoded.

A reduced size is what the inverse DCT gives if it is taken of the lowest frequencies only
(libjpeg's `scale_denom`): the area average of the full pixels up to a few grey levels, at a half to
a third of the time.

Of a tile of which only upper rows are needed, only these become pixels. The rest of its code is
read all the same: damage mostly shows where the code ends too early, rows after it began, and a
decoder that stops before would take noise for cells.
"""

import re
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from worker.slide.codestream import find_frame, shorten
from worker.slide.geometry import Size

REDUCTIONS: Final = (2, 4, 8)
"""Divisors of width and height offered beside the full size."""
WORTHWHILE: Final = 0.5
"""Share of the rows up to which a tile is decoded in part. Reading its code without making pixels
takes 0.37 of the time of decoding it, the rows that are made their share and 0.04."""

_BANDS: Final = {"RGB": 3, "GRAY": 1}
_ADOBE_RGB: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""Adobe's APP14 segment: the components are RGB (ITU-T T.872, 6.5.3)."""
_PADDED: Final = re.compile(r"extraneous bytes before marker 0x(d9|da|c4)$")
"""libjpeg's first warning, the one that is kept, where only padding stands before the end, the next
scan or its tables. Before any other marker it is what follows a break in the code."""
_LEFT_OUT: Final = re.compile(r"extraneous bytes before marker 0xd[0-79]$")
"""The same for rows that the header was made to leave out, with restarts among them."""


def decode_jpeg(
    data: bytes,
    *,
    tables: bytes | None = None,
    is_rgb: bool = False,
    reduction: int = 1,
    rows: int | None = None,
) -> NDArray[np.uint8]:
    """Pixels of a JPEG codestream with three components.

    Args:
        data: as stored in the file; `codestream.find_defect` must have passed.
        tables: the file's shared tables (TIFF tag 347), a codestream without a frame.
        is_rgb: the components are RGB; otherwise the stream's own markers say what they are.
        reduction: divisor of width and height, 1 or one of `REDUCTIONS`.
        rows: how many of the result, from the top, are needed, 1 or more; None for all.

    Returns:
        RGB, shape (height, ceil(width / reduction), 3). The height is ceil(that of the stream /
        reduction); it may be less, but not less than `rows`.

    Raises:
        ValueError: the data are damaged, in whatever row; also where libjpeg by itself would go on
            with grey.
    """
    frame = find_frame(data)
    if frame is None:
        raise ValueError("no frame header")
    shared = tables.rstrip(b"\0")[2:-2] if tables else b""
    colour = _ADOBE_RGB if is_rgb else b""
    if shared or colour:  # the tile's own tables follow the shared ones and win
        data = b"".join((data[:2], shared, data[2 : frame.at], colour, data[frame.at :]))
    height, width = frame.size.height, frame.size.width
    if reduction == 1 and rows is not None and rows < WORTHWHILE * height:
        shortened, kept = shorten(data, rows)
        if kept <= WORTHWHILE * height:
            _decode(data, frame.size, 8, colours="GRAY")
            return _decode(shortened, Size(width, kept), harmless=_LEFT_OUT)
    return _decode(data, frame.size, reduction)


def _decode(
    data: bytes,
    size: Size,
    reduction: int = 1,
    *,
    colours: str = "RGB",
    harmless: re.Pattern[str] = _PADDED,
) -> NDArray[np.uint8]:
    height, width = -(-size.height // reduction), -(-size.width // reduction)
    pixels = np.empty((height, width, _BANDS[colours]), np.uint8)
    scale: dict[str, Any] = {}
    if reduction > 1:
        scale = {"min_height": height, "min_width": width, "min_factor": reduction}
    try:
        simplejpeg.decode_jpeg(data, colours, buffer=pixels, **scale)
    except ValueError as err:  # the buffer is filled if it was no more than a warning
        if not harmless.search(str(err)):
            raise
    return pixels


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG with colours at full resolution (4:4:4): the same pixels give the same bytes.

    Args:
        pixels: RGB, shape (height, width, 3), 0–255.
        quality: 1–100, as libjpeg scales its tables.
    """
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality)
    return encoded
