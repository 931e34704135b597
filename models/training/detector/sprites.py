"""Source images in memory: fields, and crops cut into the cell and the rest.

Images are kept at no finer than `CACHE_UM_PER_PX`, twice the detector's resolution, so that the
jittered scale still averages down. Loaded when first asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.background import estimate_background
from models.density import optical_density, relative_density
from models.nets.heatmap import MEAN_DIAMETER_UM
from models.red_cell import estimate_red_cell
from models.training.detector.fields import CellRecord, FieldRecord, read_rgb, resample

CACHE_UM_PER_PX: Final = 0.29
RED_CELL_DENSITY: Final = 0.4
"""Red-channel density of a CellaVision red cell; a nucleus begins halfway from it to the density
at the crop's centre, within `NUCLEUS_DENSITIES`."""
NUCLEUS_DENSITIES: Final = (0.5, 0.75)
CENTRE_UM: Final = 2.5
NUCLEUS_MIN_UM2: Final = 5.0
NUCLEUS_REACH_UM: Final = 6.0
"""A nucleus (lobe) this near the crop's centre belongs to the labelled cell."""
OWN_UM: Final = 8.0
"""Nucleus farther than this from the centre may be a touching neighbour's: no loss is counted
there, and a crop with a quarter of its nucleus out there is never pasted."""
CYTOPLASM_UM: Final = 1.8
"""How far around the nucleus a pasted cell reaches."""
NEIGHBOUR_UM: Final = 2.5
"""How far around a neighbour's nucleus no loss is counted."""
CUT_OUT_RIM_PX: Final = 1
"""Px of a field kept around a cell that is cut out of it."""
GLASS: Final = 0.3
"""Density below which a px of a cell's box is glass beside it, in units of a red cell."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image and what is known of it, in px of the image.

    Attributes:
        rgb: shape (height, width, 3).
        background: RGB of its glass, shape (3,).
        red_cell: density of its red cells, shape (3,).
        um_per_px: of `rgb`.
        boxes: leukocytes, shape (n, 4).
        cell: opacity of the central cell when pasted, (height, width), 0 or 255; None in a field
            and where the cell could not be outlined.
        ignored: where a leukocyte may be that nobody labelled, 0 or 255; None in a field.
    """

    rgb: NDArray[np.uint8]
    background: NDArray[np.float32]
    red_cell: NDArray[np.float32]
    um_per_px: float
    boxes: NDArray[np.float64]
    cell: NDArray[np.uint8] | None = None
    ignored: NDArray[np.uint8] | None = None


class ImageStore:
    """Images by record, each decoded once. A file that cannot be decoded is None, every time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._images: dict[str, SourceImage | None] = {}
        self._cells: dict[tuple[str, int], SourceImage | None] = {}

    def load(self, record: FieldRecord | CellRecord) -> SourceImage | None:
        """The image of a field or crop, or None if its file is broken."""
        if record.path not in self._images:
            self._images[record.path] = self._read(record)
        return self._images[record.path]

    def load_cell(self, record: FieldRecord, index: int) -> SourceImage | None:
        """The cell of a field's box; None if the file is broken or the field cuts the cell."""
        key = record.path, index
        if key not in self._cells:
            image = self.load(record)
            self._cells[key] = image and cut_out(image, image.boxes[index])
        return self._cells[key]

    def _read(self, record: FieldRecord | CellRecord) -> SourceImage | None:
        try:
            rgb = read_rgb(self._root / record.path)
        except OSError:
            return None
        um_per_px = max(record.um_per_px, CACHE_UM_PER_PX)
        rgb = resample(rgb, record.um_per_px / um_per_px)
        background = estimate_background(rgb)
        if isinstance(record, CellRecord):
            return segment_crop(rgb, background, um_per_px)
        boxes = record.boxes * (record.um_per_px / um_per_px)
        return SourceImage(rgb, background, estimate_red_cell(rgb, background), um_per_px, boxes)


def segment_crop(
    rgb: NDArray[np.uint8], background: NDArray[np.float32], um_per_px: float
) -> SourceImage:
    """A crop cut into its central cell and the nuclei of its neighbours.

    Returns:
        The image with its masks and one box about the crop's centre, as wide as a disc of the
        cell's area. Where no single nucleus stands out (a pale smudge cell, a clump) `cell` is
        None, so that it is never pasted, and the box is of a usual cell.
    """
    density = optical_density(rgb, background)
    height, width = density.shape[1:]
    rows, cols = np.ogrid[:height, :width]
    away_um = np.hypot(rows - (height - 1) / 2, cols - (width - 1) / 2) * um_per_px
    centre_density = float(np.median(density[0][away_um <= CENTRE_UM]))
    threshold = np.clip((RED_CELL_DENSITY + centre_density) / 2, *NUCLEUS_DENSITIES)
    nuclei = ndimage.binary_opening(density[0] > threshold)
    labels, count = ndimage.label(nuclei)
    index = np.arange(1, count + 1)
    big = ndimage.sum_labels(nuclei, labels, index) * um_per_px**2 >= NUCLEUS_MIN_UM2
    nearest = np.asarray(ndimage.minimum(away_um, labels, index)) if count else np.empty(0)
    nucleus = np.isin(labels, index[nearest <= NUCLEUS_REACH_UM])
    foreign = np.isin(labels, index[big & (nearest > NUCLEUS_REACH_UM)])
    beyond = nucleus & (away_um > OWN_UM)
    ignored = _within(foreign, NEIGHBOUR_UM / um_per_px) | beyond
    outlined = bool((big & (nearest <= NUCLEUS_REACH_UM / 2)).any())
    outlined &= beyond.sum() < 0.25 * nucleus.sum()
    cell = np.zeros_like(ignored)
    if outlined:
        stained = density.sum(axis=0) > 0.3
        around = _within(nucleus & ~beyond, CYTOPLASM_UM / um_per_px)
        cell = ndimage.binary_fill_holes(around & (stained | nucleus))
    half = np.sqrt(float(cell.sum()) / np.pi) if outlined else MEAN_DIAMETER_UM / 2 / um_per_px
    x, y = width / 2, height / 2
    return SourceImage(
        rgb,
        background,
        estimate_red_cell(rgb, background),
        um_per_px,
        np.array([[x - half, y - half, x + half, y + half]]),
        cell.astype(np.uint8) * 255 if outlined else None,
        ignored.astype(np.uint8) * 255,
    )


def cut_out(image: SourceImage, box: NDArray[np.float64]) -> SourceImage | None:
    """The cell in a box, as a crop that it fills: what its ellipse holds, glass left out.

    Args:
        image: a field.
        box: of a leukocyte, x0, y0, x1, y1, px of the field.

    Returns:
        The crop, with the cell's opacity and one box about its centre; None where the field's edge
        cuts the cell.
    """
    width, height = box[2:] - box[:2]
    half = int(np.ceil(max(width, height) / 2)) + CUT_OUT_RIM_PX
    x, y = ((box[:2] + box[2:]) / 2).round().astype(int)
    if min(x, y) < half or x + half > image.rgb.shape[1] or y + half > image.rgb.shape[0]:
        return None
    rgb = image.rgb[y - half : y + half, x - half : x + half]
    rows, cols = np.ogrid[-half + 0.5 : half, -half + 0.5 : half]
    ellipse = (2 * cols / width) ** 2 + (2 * rows / height) ** 2 <= 1.0
    stained = relative_density(rgb, image.background, image.red_cell).max(axis=0) > GLASS
    cell = ellipse & ndimage.binary_fill_holes(stained)
    radius = np.sqrt(width * height) / 2
    return SourceImage(
        rgb,
        image.background,
        image.red_cell,
        image.um_per_px,
        np.array([[half - radius, half - radius, half + radius, half + radius]]),
        cell.astype(np.uint8) * 255,
    )


def _within(mask: NDArray[np.bool_], reach_px: float) -> NDArray[np.bool_]:
    if not mask.any():
        return np.zeros_like(mask)
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) <= reach_px
    return near
