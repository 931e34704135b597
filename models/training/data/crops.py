"""Pixels of labelled cells at a physical scale, read from ordinary image files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training.data.manifest import LabelledCell


def read_crop(cell: LabelledCell, *, field_um: float, px: int) -> NDArray[np.uint8]:
    """The field around a cell.

    The centre of the file is the centre of the result. Where the file is narrower than the field
    its border is mirrored. An alpha channel is dropped.

    Args:
        field_um: width and height of the field, µm.
        px: width and height of the result.

    Returns:
        RGB, shape (px, px, 3), 0–255, anti-aliased when reduced.

    Raises:
        OSError: the file is missing, truncated or not an image.
    """
    with Image.open(cell.path) as file:
        image = file.convert("RGB")
    field_px = field_um / cell.um_per_px
    margin = max(0, int(np.ceil((field_px - min(image.size)) / 2)))
    if margin:
        padded = np.pad(
            np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), "symmetric"
        )
        image = Image.fromarray(padded)
    centre_x, centre_y, half = image.width / 2, image.height / 2, field_px / 2
    box = (centre_x - half, centre_y - half, centre_x + half, centre_y + half)
    return np.asarray(image.resize((px, px), Image.Resampling.BILINEAR, box=box))


def read_crops(
    cells: Sequence[LabelledCell], *, field_um: float, px: int, threads: int = 2
) -> tuple[NDArray[np.uint8], list[int]]:
    """Fields of many cells, and which of them could be read.

    Returns:
        Crops, shape (K, px, px, 3), and the K indices into `cells` they belong to: files that
        cannot be decoded are left out, for the caller to count and name.
    """

    def read(cell: LabelledCell) -> NDArray[np.uint8] | None:
        try:
            return read_crop(cell, field_um=field_um, px=px)
        except OSError:
            return None

    crops = np.empty((len(cells), px, px, 3), np.uint8)
    readable: list[int] = []
    with ThreadPoolExecutor(threads) as pool:
        for index, crop in enumerate(pool.map(read, cells)):
            if crop is not None:
                crops[len(readable)] = crop
                readable.append(index)
    return crops[: len(readable)], readable
