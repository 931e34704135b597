"""JPEG by libjpeg-turbo: tiles of a TIFF decoded at full size or at a half, quarter or eighth;
patches and viewer tiles encoded.

A reduced size is what the inverse DCT gives if it is taken of the lowest frequencies only
(libjpeg's `scale_denom`): the area average of the full pixels up to a few grey levels, at a half to
a third of the time.
"""

from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from worker.slide.codestream import find_frame

REDUCTIONS: Final = (2, 4, 8)
"""Divisors of width and height offered beside the full size."""

_ADOBE_RGB: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""Adobe's APP14 segment: the components are RGB (ITU-T T.872, 6.5.3)."""


def decode_jpeg(
    data: bytes, *, tables: bytes | None = None, is_rgb: bool = False, reduction: int = 1
) -> NDArray[np.uint8]:
    """Pixels of a JPEG codestream with three components.

    Args:
        data: as stored in the file; `codestream.find_defect` must have passed.
        tables: the file's shared tables (TIFF tag 347), a codestream without a frame.
        is_rgb: the components are RGB; otherwise the stream's own markers say what they are.
        reduction: divisor of width and height, 1 or one of `REDUCTIONS`.

    Returns:
        RGB, shape (ceil(height / reduction), ceil(width / reduction), 3).

    Raises:
        ValueError: the data are damaged; also where libjpeg by itself would go on with grey.
    """
    stream, scale = data, dict[str, Any]()
    if tables or is_rgb or reduction > 1:
        frame = find_frame(data)
        if frame is None:
            raise ValueError("no frame header")
        shared = tables.rstrip(b"\0")[2:-2] if tables else b""
        colour = _ADOBE_RGB if is_rgb else b""
        if shared or colour:  # the tile's own tables follow the shared ones and win
            stream = b"".join((data[:2], shared, data[2 : frame.at], colour, data[frame.at :]))
        if reduction > 1:
            height, width = -(-frame.size.height // reduction), -(-frame.size.width // reduction)
            scale = {"min_height": height, "min_width": width, "min_factor": reduction}
    try:
        pixels = simplejpeg.decode_jpeg(stream, "RGB", **scale)
    except ValueError as err:
        if "extraneous bytes" not in str(err):  # harmless padding of some encoders
            raise
        pixels = simplejpeg.decode_jpeg(stream, "RGB", strict=False, **scale)
    decoded: NDArray[np.uint8] = np.asarray(pixels)
    return decoded


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG with colours at full resolution (4:4:4): the same pixels give the same bytes.

    Args:
        pixels: RGB, shape (height, width, 3), 0–255.
        quality: 1–100, as libjpeg scales its tables.
    """
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality)
    return encoded
