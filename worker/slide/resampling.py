"""Resampling along one axis on an absolute lattice.

Output pixel i covers the interval [start + i·step, start + (i + 1)·step) of the source axis, in
source px. Downwards its value is the exact area average of that interval; upwards it is the linear
interpolation between source pixel centres at the interval's middle, by Pillow's fixed-point
kernels: four times as fast as any formulation in numpy or scipy that was measured.

Positions of an average are rounded to 1/4096 source px. That makes weights a function of the
position alone: windows that begin at different points of one lattice get bit-identical weights
where they overlap, although their positions differ by floating-point noise, so their pixels are
identical too. Pillow takes positions in single precision, so interpolated windows agree to a
hundred-thousandth of a px: to a grey level, two where both axes round at a tie.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

_Q: Final = 4096
_ROUNDING: Final = 0.37
"""Rounding threshold; not a half, because noise about k/8192 px is common and would flip."""


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """Which source pixels make each output pixel of an axis.

    Attributes:
        first: first source px used.
        stop: one past the last source px used.
        count: output px.
        matrix: weights of an average, shape (count, stop - first); None if the axis is interpolated
            or copied.
        box: what an interpolation stretches over `count` output px: start and end, in source px
            from `first`. All of the window, px by px, for a copy.
    """

    first: int
    stop: int
    count: int
    matrix: csr_array | None
    box: tuple[float, float]

    @property
    def is_copy(self) -> bool:
        """Whether every output pixel is one source pixel, in order and without gaps."""
        return self.matrix is None and self.box == (0, self.stop - self.first) == (0, self.count)


def plan_taps(start: float, step: float, count: int) -> Taps:
    """Taps of `count` >= 1 output pixels; `start` and `step` > 0 in source px."""
    if step > 1 + 1 / _Q:
        return _average(start, step, count)
    return _interpolate(start, step, count)


def find_copy(start: float, step: float, count: int) -> int | None:
    """The first source px if `count` output pixels are source pixels as they are; None if not."""
    whole, end = round(start), start + step * count
    return whole if max(abs(start - whole), abs(end - whole - count)) < 0.5 / _Q else None


def resample(pixels: NDArray[np.uint8], rows: Taps, columns: Taps) -> NDArray[np.uint8]:
    """Apply taps of one step to the source window they need.

    Args:
        pixels: RGB, shape (rows.stop - rows.first, columns.stop - columns.first, 3).

    Returns:
        RGB, shape (rows.count, columns.count, 3); `pixels` itself if nothing is to be done.
    """
    if rows.is_copy and columns.is_copy:
        return pixels
    if rows.matrix is None or columns.matrix is None:
        box = (columns.box[0], rows.box[0], columns.box[1], rows.box[1])
        size = (columns.count, rows.count)
        image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=box)
        return np.asarray(image)
    averaged = _combine(rows.matrix, pixels.astype(np.float32))
    result = _turn(_round(_combine(columns.matrix, _turn(averaged))))
    return np.ascontiguousarray(result)


def _combine(matrix: csr_array, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply weights along the first axis of an array of shape (source px, any, 3)."""
    _, others, bands = pixels.shape
    flat = matrix @ pixels.reshape(len(pixels), others * bands)
    return np.asarray(flat.reshape(-1, others, bands), np.float32)


def _turn(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.transpose(1, 0, 2)


def _round(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    pixels += 0.5
    return pixels.astype(np.uint8)


def _average(start: float, step: float, count: int) -> Taps:
    edges = np.floor((start + step * np.arange(count + 1)) * _Q + _ROUNDING).astype(np.int64)
    low, high = edges[:-1], edges[1:]
    first, stop = int(edges[0]) // _Q, -(-int(edges[-1]) // _Q)
    columns = low[:, None] // _Q + np.arange(int(((high + _Q - 1) // _Q - low // _Q).max()))
    overlap = np.minimum(high[:, None], (columns + 1) * _Q) - np.maximum(low[:, None], columns * _Q)
    weights = (np.maximum(overlap, 0) / (high - low)[:, None]).astype(np.float32)
    inside = np.minimum(columns - first, stop - first - 1)  # beyond lie unused taps only
    rows = np.arange(0, columns.size + 1, columns.shape[1])
    matrix = csr_array((weights.ravel(), inside.ravel(), rows), shape=(count, stop - first))
    return Taps(first, stop, count, matrix, (0, stop - first))


def _interpolate(start: float, step: float, count: int) -> Taps:
    whole = find_copy(start, step, count)
    if whole is not None:
        return Taps(whole, whole + count, count, None, (0, count))
    end = start + step * count
    first = int(np.floor(start + (step - 1) / 2))
    stop = int(np.floor(end - (step + 1) / 2)) + 2
    return Taps(first, stop, count, None, (start - first, end - first))
