"""Patches of labelled cells, as a scan would cut them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PATCH_UM = 29.0
PATCH_PX = 400


def read_patch(
    picture: Image.Image, x: float, y: float, um_per_px: float
) -> NDArray[np.uint8] | None:
    """29 µm about a centre, None where the picture ends before. RGB, shape (400, 400, 3)."""
    reach = PATCH_UM / um_per_px / 2
    box = (x - reach, y - reach, x + reach, y + reach)
    if min(box) < 0 or box[2] > picture.width or box[3] > picture.height:
        return None
    size = (PATCH_PX, PATCH_PX)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=box))
