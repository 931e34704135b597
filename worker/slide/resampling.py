"""Resampling along one axis on an absolute lattice.

Output pixel i covers the interval [start + i·step, start + (i + 1)·step) of the source axis, in
source px. Downwards its value is the exact area average of that interval; upwards it is the linear
interpolation between source pixel centres at the interval's middle.

Positions are rounded to 1/4096 source px. That makes weights a function of the position alone:
windows that begin at different points of one lattice get bit-identical weights where they overlap,
although their positions differ by floating-point noise, so their pixels are identical too.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_Q: Final = 4096
_ROUNDING: Final = 0.37
"""Rounding threshold; not a half, because noise about k/8192 px is common and would flip."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Which source pixels make each output pixel of an axis.

    Attributes:
        indices: source px, shape (count, taps), ascending along taps.
        weights: same shape, rows sum to 1; 0 where a tap is unused.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def first(self) -> int:
        """First source px used."""
        return int(self.indices[0, 0])

    @property
    def stop(self) -> int:
        """One past the last source px used."""
        return int(self.indices[-1][self.weights[-1] > 0][-1]) + 1

    @property
    def is_copy(self) -> bool:
        """Whether every output pixel is one source pixel, in order and without gaps."""
        count = len(self.indices)
        return self.stop - self.first == count and bool((self.weights[:, 0] == 1).all())

    def matrix(self) -> csr_array:
        """Sparse matrix of shape (count, stop - first)."""
        count, taps = self.indices.shape
        used = self.stop - self.first
        columns = np.minimum(self.indices - self.first, used - 1)  # beyond lie unused taps only
        rows = np.arange(0, count * taps + 1, taps)
        return csr_array((self.weights.ravel(), columns.ravel(), rows), shape=(count, used))


def plan_taps(start: float, step: float, count: int) -> Taps:
    """Taps of `count` >= 1 output pixels; `start` and `step` > 0 in source px."""
    edges = np.floor((start + step * np.arange(count + 1)) * _Q + _ROUNDING).astype(np.int64)
    low, high = edges[:-1], edges[1:]
    if step > 1 - 1 / _Q:
        return _average(low, high)
    return _interpolate(low, high)


def resample(pixels: NDArray[np.uint8], rows: Taps, columns: Taps) -> NDArray[np.uint8]:
    """Apply taps to the source window they need.

    Args:
        pixels: RGB, shape (rows.stop - rows.first, columns.stop - columns.first, 3).

    Returns:
        RGB, shape (number of row taps, number of column taps, 3).
    """
    if rows.is_copy and columns.is_copy:
        return pixels
    if len(rows.indices) < len(pixels):  # the order that makes the smaller intermediate
        averaged = _combine(rows, pixels.astype(np.float32))
        result = _turn(_round(_combine(columns, _turn(averaged))))
    else:
        wide = _combine(columns, _turn(pixels).astype(np.float32))
        result = _round(_combine(rows, _turn(wide)))
    return np.ascontiguousarray(result)


def _combine(taps: Taps, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply taps along the first axis of an array of shape (source px, any, 3)."""
    _, others, bands = pixels.shape
    flat = taps.matrix() @ pixels.reshape(len(pixels), others * bands)
    return np.asarray(flat.reshape(-1, others, bands), np.float32)


def _turn(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.transpose(1, 0, 2)


def _round(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    pixels += 0.5
    return pixels.astype(np.uint8)


def _average(low: NDArray[np.int64], high: NDArray[np.int64]) -> Taps:
    first = low // _Q
    taps = int(((high + _Q - 1) // _Q - first).max())
    indices = first[:, None] + np.arange(taps)
    overlap = np.minimum(high[:, None], (indices + 1) * _Q) - np.maximum(low[:, None], indices * _Q)
    overlap = np.maximum(overlap, 0)
    return Taps(indices, (overlap / (high - low)[:, None]).astype(np.float32))


def _interpolate(low: NDArray[np.int64], high: NDArray[np.int64]) -> Taps:
    centre = (low + high - _Q) // 2
    first, fraction = np.divmod(centre, _Q)
    weights = np.stack([_Q - fraction, fraction], axis=1) / _Q
    return Taps(first[:, None] + np.arange(2), weights.astype(np.float32))
