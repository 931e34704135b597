"""Pixels of labelled cells at a physical scale, read from ordinary image files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training.data.manifest import LabelledCell, Stranger

NOT_AN_IMAGE: Final = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises on damaged files: tried on 400 cut or overwritten TIFFs."""


def read_crop(cell: LabelledCell | Stranger, *, field_um: float, px: int) -> NDArray[np.uint8]:
    """The field around a cell.

    The centre of the file is the centre of the result. Where the file is narrower than the field
    its border is mirrored. An alpha channel is dropped; a black border is filled
    (`fill_black_border`).

    Args:
        field_um: width and height of the field, µm.
        px: width and height of the result.

    Returns:
        RGB, shape (px, px, 3), 0–255, anti-aliased when reduced.

    Raises:
        OSError: the file is missing, truncated or not an image.
    """
    try:
        with Image.open(cell.path) as file:
            rgb = np.asarray(file.convert("RGB"))
    except NOT_AN_IMAGE as err:
        raise OSError(f"{cell.path} cannot be decoded: {err}") from err
    image = Image.fromarray(fill_black_border(rgb))
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


def fill_black_border(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror the picture into rows and columns that were padded black at the edge of the slide.

    Some crops of AML-Cytomorphology_LMU are padded. Black tells a network nothing about the cell,
    but may tell it which laboratory cut the crop. Rows and columns count that are exactly black
    over their whole length, from the border inwards; the size and the cell's place do not change.
    A wholly black image is left alone.

    Args:
        rgb: shape (H, W, 3), 0–255.

    Returns:
        Shape (H, W, 3); the argument itself where no border is black.
    """
    if rgb[0].any() and rgb[-1].any() and rgb[:, 0].any() and rgb[:, -1].any():
        return rgb
    lit = rgb.max(axis=2) > 0
    rows = np.flatnonzero(lit.any(axis=1))
    columns = np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        return rgb
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = lit.shape
    margins = ((top, height - bottom), (left, width - right), (0, 0))
    return np.pad(rgb[top:bottom, left:right], margins, "symmetric")


def read_crops(
    cells: Sequence[LabelledCell | Stranger], *, field_um: float, px: int, threads: int = 2
) -> tuple[NDArray[np.uint8], list[int]]:
    """Fields of many cells, and which of them could be read.

    Returns:
        Crops, shape (K, px, px, 3), and the K indices into `cells` they belong to: files that
        cannot be decoded are left out, for the caller to count and name.
    """

    def read(cell: LabelledCell | Stranger) -> NDArray[np.uint8] | None:
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
