"""Parts of a training canvas: windows of source images, with cells and specks laid over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from models.density import MAX_RELATIVE, relative_density
from models.training.detector.fields import resample
from models.training.detector.sprites import SourceImage

Box = tuple[float, float, float, float]

VISIBLE_LABELLED: Final = 0.5
"""Share of a box that must be on the piece for its cell to count; below a third of that it is
nothing, in between no loss is counted there."""

BOX_TAKEN: Final = 0.7
"""How often a window is laid around a leukocyte rather than anywhere."""

CLUMP_CHANCE: Final = 0.5
"""How often pasted cells touch, and how often specks make a platelet clump."""

DARK_UM2: Final = (12.0, 75.0)
"""Area of the cells that are darkened: a red cell that touches nothing."""

TRIES: Final = 6
"""Places tried for a cell before it is given up."""


@dataclass(slots=True)
class Piece:
    """Part of a canvas. Arrays share height and width; labels are x, y, diameter, known (0/1).

    Density is in units of the source image's own red cells, channel by channel.
    """

    density: NDArray[np.float32]
    ignored: NDArray[np.bool_]
    labels: NDArray[np.float64]


def cut_piece(
    image: SourceImage,
    height: int,
    width: int,
    um_per_px: float,
    nominal_um_per_px: float,
    rng: np.random.Generator,
) -> Piece:
    """A window of an image; where the image is smaller, glass around it.

    Args:
        image: source.
        height: of the piece, px.
        width: of the piece, px.
        um_per_px: scale to resample to, jittered.
        nominal_um_per_px: what the network will take that scale for.
        rng: where the window lies.
    """
    scale = image.um_per_px / um_per_px
    full_h, full_w = image.rgb.shape[:2]
    take_h, take_w = min(full_h, height / scale), min(full_w, width / scale)
    x0, y0 = rng.uniform(0.0, full_w - take_w), rng.uniform(0.0, full_h - take_h)
    if len(image.boxes) and rng.random() < BOX_TAKEN:
        box = image.boxes[int(rng.integers(len(image.boxes)))]
        spot = rng.uniform(0.1, 0.9, 2)
        x0 = float(np.clip((box[0] + box[2]) / 2 - spot[0] * take_w, 0.0, full_w - take_w))
        y0 = float(np.clip((box[1] + box[3]) / 2 - spot[1] * take_h, 0.0, full_h - take_h))
    window = (x0, y0, x0 + take_w, y0 + take_h)
    out_w, out_h = min(width, round(take_w * scale)), min(height, round(take_h * scale))
    at_x, at_y = int(rng.integers(width - out_w + 1)), int(rng.integers(height - out_h + 1))
    inside = np.s_[at_y : at_y + out_h, at_x : at_x + out_w]
    piece = Piece(
        np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool), np.empty((0, 4))
    )
    rgb = resample(image.rgb, scale, box=window, size=(out_w, out_h))
    piece.density[inside] = np.moveaxis(
        relative_density(rgb, image.background, image.red_cell), 0, -1
    )
    if image.ignored is not None:
        piece.ignored[inside] = _resample_mask(image.ignored, scale, window, (out_w, out_h)) > 0.2
    known = 0.0 if image.ignored is not None else 1.0
    labels = []
    for box in image.boxes:
        low = np.maximum(box[:2], window[:2])
        high = np.minimum(box[2:], window[2:])
        if (low >= high).any():
            continue
        area = float(np.prod(box[2:] - box[:2]))
        visible = float(np.prod(high - low)) / area
        low, high = ((at - window[:2]) * scale + (at_x, at_y) for at in (low, high))
        if visible >= VISIBLE_LABELLED:
            diameter_um = np.sqrt(area) * scale * nominal_um_per_px
            labels.append([*(low + high) / 2, diameter_um, known if visible > 0.9 else 0.0])
        elif visible >= VISIBLE_LABELLED / 3:
            left, top, right, bottom = np.concatenate([low, high]).round().astype(int)
            piece.ignored[top:bottom, left:right] = True
    piece.labels = np.array(labels).reshape(-1, 4)
    return piece


def mirror_piece(piece: Piece, rng: np.random.Generator) -> None:
    """Mirror in place, each way half of the time."""
    height, width = piece.ignored.shape
    if rng.random() < 0.5:
        piece.density, piece.ignored = piece.density[:, ::-1], piece.ignored[:, ::-1]
        piece.labels[:, 0] = width - piece.labels[:, 0]
    if rng.random() < 0.5:
        piece.density, piece.ignored = piece.density[::-1], piece.ignored[::-1]
        piece.labels[:, 1] = height - piece.labels[:, 1]
    piece.density, piece.ignored = piece.density.copy(), piece.ignored.copy()


def lay_over_itself(piece: Piece, rng: np.random.Generator) -> None:
    """Add a shifted copy, as where red cells overlap. For pieces without leukocytes."""
    shift_y, shift_x = (int(shift) for shift in rng.integers(4, 12, 2))
    shifted = np.roll(piece.density, (shift_y, shift_x), (0, 1))
    piece.density = np.minimum(piece.density + shifted, MAX_RELATIVE)


def paste_cells(
    piece: Piece,
    crops: Iterator[SourceImage],
    um_per_px: float,
    nominal_um_per_px: float,
    rng: np.random.Generator,
) -> None:
    """Paste one to three cells in place, or a clump of two to fourteen that touch.

    Args:
        piece: gets the cells and their labels, of unknown diameter.
        crops: where cells come from; those without an outline are passed over.
        um_per_px: scale to resample to, jittered.
        nominal_um_per_px: what the network will take that scale for.
        rng: how many, where and how dark.
    """
    height, width = piece.ignored.shape
    clump = rng.random() < CLUMP_CHANCE
    pasted: list[tuple[float, float, float]] = []
    count = int(rng.integers(2, 15)) if clump else int(rng.integers(1, 4))
    for crop in islice(crops, count):
        if crop.cell is None:
            continue
        diameter_px = (crop.boxes[0, 2] - crop.boxes[0, 0]) * crop.um_per_px / um_per_px
        for _ in range(TRIES):
            if clump and pasted:
                x0, y0, other_px = pasted[int(rng.integers(len(pasted)))]
                angle = rng.uniform(0.0, 2 * np.pi)
                away = 0.5 * (diameter_px + other_px) * rng.uniform(0.8, 1.05)
                x, y = x0 + away * np.cos(angle), y0 + away * np.sin(angle)
            else:
                x, y = rng.uniform(0, width), rng.uniform(0, height)
            if _is_free(piece, x, y, diameter_px, nominal_um_per_px):
                x, y = _lay(piece, crop, um_per_px, x, y, rng)
                label = [x, y, diameter_px * nominal_um_per_px, 0.0]
                piece.labels = np.vstack([piece.labels, label])
                pasted.append((x, y, diameter_px))
                break


def darken_cells(piece: Piece, um_per_px: float, rng: np.random.Generator) -> None:
    """Darken some red cells in place, each on its own, as spherocytes and polychromasia are."""
    labels, count = ndimage.label(piece.density[..., 1] > 0.5)
    if not count:
        return
    area_um2 = np.bincount(labels.ravel(), minlength=count + 1) * um_per_px**2
    gain = np.ones((count + 1, 3), np.float32)
    dark = (area_um2 > DARK_UM2[0]) & (area_um2 < DARK_UM2[1]) & (rng.random(count + 1) < 0.25)
    tint = np.exp(rng.normal(0.0, 0.12, 3))
    gain[dark] = np.maximum(1.0, rng.uniform(1.1, 2.2, (int(dark.sum()), 1)) * tint)
    height, width = piece.ignored.shape
    for x, y, diameter_um, _ in piece.labels:
        reach = 0.6 * diameter_um / um_per_px
        rows = slice(max(0, int(y - reach)), min(height, int(y + reach) + 1))
        cols = slice(max(0, int(x - reach)), min(width, int(x + reach) + 1))
        gain[np.unique(labels[rows, cols])] = 1.0
    gain[0] = 1.0
    piece.density *= gain[labels]


def strew_specks(density: NDArray[np.float32], um_per_px: float, rng: np.random.Generator) -> None:
    """Stain crystals and platelets, 0.8 to 3.5 µm, alone or in a clump. Never a leukocyte."""
    size = density.shape[0]
    clump = rng.random() < CLUMP_CHANCE
    middle, spread_px = rng.uniform(0, size, 2), rng.uniform(1.0, 4.0) / um_per_px
    for _ in range(int(rng.integers(1, 14))):
        y, x = middle + rng.normal(0.0, spread_px, 2) if clump else rng.uniform(0, size, 2)
        radius = rng.uniform(0.4, 1.75) / um_per_px
        depth = rng.uniform(0.8, 4.5) * rng.uniform([0.7, 0.6, 0.1], [1.6, 1.0, 1.2])
        y0, y1 = max(0, int(y - radius - 4)), min(size, int(y + radius + 5))
        x0, x1 = max(0, int(x - radius - 4)), min(size, int(x + radius + 5))
        if y0 >= y1 or x0 >= x1:
            continue
        rows, cols = np.ogrid[y0:y1, x0:x1]
        disc = 1.0 / (1.0 + np.exp(2.0 * (np.hypot(rows - y, cols - x) - radius)))
        window = density[y0:y1, x0:x1]
        np.maximum(window, (disc[..., None] * depth).astype(np.float32), out=window)


def _is_free(piece: Piece, x: float, y: float, diameter_px: float, um_per_px: float) -> bool:
    """Whether a cell fits here: most of it inside the piece, and not over another cell."""
    height, width = piece.ignored.shape
    margin = 0.25 * diameter_px
    if not (margin <= x <= width - margin and margin <= y <= height - margin):
        return False
    away_px = np.hypot(piece.labels[:, 0] - x, piece.labels[:, 1] - y)
    reach_px = 0.5 * (diameter_px + piece.labels[:, 2] / um_per_px)
    return not (away_px < 0.75 * reach_px).any()


def _lay(
    piece: Piece,
    image: SourceImage,
    um_per_px: float,
    x: float,
    y: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Lay a crop's central cell over a piece; returns where its centre came to lie."""
    assert image.cell is not None
    scale = image.um_per_px / um_per_px
    full_h, full_w = image.rgb.shape[:2]
    rows, cols = np.flatnonzero(image.cell.any(axis=1)), np.flatnonzero(image.cell.any(axis=0))
    half = 2.0 + max(*np.abs(rows - full_h / 2), *np.abs(cols - full_w / 2))
    half_w, half_h = min(half, full_w / 2), min(half, full_h / 2)
    window = (full_w / 2 - half_w, full_h / 2 - half_h, full_w / 2 + half_w, full_h / 2 + half_h)
    size = (round(2 * half_w * scale), round(2 * half_h * scale))
    rgb = resample(image.rgb, scale, box=window, size=size)
    cell = np.moveaxis(relative_density(rgb, image.background, image.red_cell), 0, -1)
    opacity = _resample_mask(image.cell, scale, window, size)
    turns = int(rng.integers(4))
    cell, opacity = np.rot90(cell, turns), np.rot90(opacity, turns)
    cell = cell * np.exp(rng.normal(0.0, 0.2) + rng.normal(0.0, 0.1, 3)).astype(np.float32)
    left, top = round(x - cell.shape[1] / 2), round(y - cell.shape[0] / 2)
    height, width = piece.ignored.shape
    t, b = max(0, top), min(height, top + cell.shape[0])
    le, r = max(0, left), min(width, left + cell.shape[1])
    a = opacity[t - top : b - top, le - left : r - left, None]
    piece.density[t:b, le:r] += a * (
        cell[t - top : b - top, le - left : r - left] - piece.density[t:b, le:r]
    )
    piece.ignored[t:b, le:r] &= a[..., 0] < 0.5
    return left + cell.shape[1] / 2, top + cell.shape[0] / 2


def _resample_mask(
    mask: NDArray[np.uint8],
    scale: float,
    window: Box,
    size: tuple[int, int],
) -> NDArray[np.float32]:
    kernel = Image.Resampling.BOX if scale <= 1.0 else Image.Resampling.BILINEAR
    share = np.asarray(Image.fromarray(mask).resize(size, kernel, box=window), np.float32)
    return share / np.float32(255)
