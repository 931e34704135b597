"""Crops that show the same cell: copies, also turned or mirrored, and overlapping cut-outs.

Two cells that touch are often cut out twice, each time around the other one: both crops show both
cells. If one trains a network and the other tests it, the test is worth nothing.

Fingerprints propose pairs, normalised correlation confirms them, because cells on smooth ground
look alike to a fingerprint. Measured on 7,609 real crops (29 million pairs): see MIN_CORRELATION.
Not found: copies turned by other than quarter turns, crops scaled by more than about 5 %, and
crops whose centres lie further apart than MAX_SHIFT_UM.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.data.crops import read_crops
from models.training.data.fingerprints import find_close, hash_images
from models.training.data.manifest import LabelledCell

FIELD_UM: Final = 29.0
"""Width compared: the classifier's view. Crops are the same if it would see the same."""

THUMBNAIL_PX: Final = 64
"""Width of the grey images that are correlated: 0.45 µm a pixel."""

COARSE_PX: Final = 32
"""Width of the grey images that are hashed: 0.9 µm a pixel."""

WINDOW_PX: Final = 20
"""Width of the part that overlapping crops must share, coarse pixels: 18 µm."""

MAX_SHIFT_PX: Final = COARSE_PX - WINDOW_PX
"""Furthest shift between two crops, each way, coarse pixels."""

MAX_SHIFT_UM: Final = MAX_SHIFT_PX * FIELD_UM / COARSE_PX
"""10.9 µm: two touching cells."""

MAX_DISTANCE_COPY: Final = 12
"""Unlike bits between copies: 99 % of crops re-encoded, recoloured, blurred, scaled by 3 % or
shifted by 0.5 µm stay within it; 3 in 10,000 unlike pairs do."""

MAX_DISTANCE_OVERLAP: Final = 10
"""Unlike bits between the shared windows of overlapping crops; fewer, as 625 shifts are tried."""

MIN_CORRELATION: Final = 0.95
"""Over the shared area. Of 29 million pairs of real crops, those above it lie at 0.965 and more and
show the same cell, all 34 of DeepAPL within one patient; the closest pair of different cells lies
at 0.938. Re-encoded, recoloured and blurred copies lie at 0.98 and more."""

_PROMISING: Final = 0.8
"""Correlation before the shift is refined by a pixel each way."""

_CHUNK: Final = 512
"""Crops decoded, or pairs correlated, at a time."""

Shift = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnails:
    """Small grey images of the cells whose files could be decoded.

    Attributes:
        grey: shape (K, 64, 64), 0–255.
        readable: K indices into the cells they were read from.
        unreadable: the other indices.
    """

    grey: NDArray[np.uint8]
    readable: tuple[int, ...]
    unreadable: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two images that show the same cell.

    Attributes:
        first: index of one image.
        second: index of the other, higher.
        correlation: normalised, over the area they share, at most 1.
        shift_um: between their centres, µm; 0 for copies.
    """

    first: int
    second: int
    correlation: float
    shift_um: float


def read_thumbnails(
    cells: Sequence[LabelledCell],
    *,
    threads: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Thumbnails:
    """Decode every file once; 18,365 thumbnails are 75 MB.

    Args:
        on_progress: told (done, total).
    """
    grey = [np.empty((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)]
    readable: list[int] = []
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        rgb, kept = read_crops(chunk, field_um=FIELD_UM, px=THUMBNAIL_PX, threads=threads)
        luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
        grey.append(luma.round().astype(np.uint8))
        readable += [start + index for index in kept]
        if on_progress:
            on_progress(start + len(chunk), len(cells))
    unreadable = sorted(set(range(len(cells))) - set(readable))
    return Thumbnails(np.concatenate(grey), tuple(readable), tuple(unreadable))


def find_duplicates(
    grey: NDArray[np.uint8],
    *,
    threads: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Duplicate, ...]:
    """Pairs of thumbnails that show the same cell, by index.

    Of thumbnails that are equal byte for byte only the first is compared with others: each of the
    rest is paired with it alone.

    Args:
        grey: shape (N, 64, 64), each 29 µm wide.
        on_progress: told (done, total).
    """
    first_with: dict[bytes, int] = {}
    original = [first_with.setdefault(image.tobytes(), i) for i, image in enumerate(grey)]
    pairs = {
        (first, index): Duplicate(first, index, 1.0, 0.0)
        for index, first in enumerate(original)
        if first != index
    }
    distinct = list(first_with.values())
    if len(distinct) < 2:
        return tuple(pairs.values())
    for pair in _compare_all(grey[distinct].astype(np.float32), threads, on_progress):
        first, second = distinct[pair.first], distinct[pair.second]
        known = pairs.get((first, second))
        if known is None or known.correlation < pair.correlation:
            pairs[first, second] = Duplicate(first, second, pair.correlation, pair.shift_um)
    return tuple(pairs[key] for key in sorted(pairs))


def _compare_all(
    fine: NDArray[np.float32],
    threads: int,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Duplicate]:
    step = THUMBNAIL_PX // COARSE_PX
    coarse = fine.reshape(len(fine), COARSE_PX, step, COARSE_PX, step).mean(axis=(2, 4))
    turned = list(zip(_turn(coarse), _turn(fine), strict=True))
    windows = _hash_windows(coarse)
    span = range(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1)
    shifts = [(dy, dx) for dy in span for dx in span if (dy, dx) != (0, 0)]
    upright = hash_images(coarse)
    total = len(turned) + len(shifts)
    with ThreadPoolExecutor(threads) as pool:
        for done, (small, large) in enumerate(turned, start=1):
            close = find_close(
                upright, hash_images(small), max_distance=MAX_DISTANCE_COPY, pool=pool
            )
            yield from _confirm(fine, large, close, (0, 0))
            if on_progress:
                on_progress(done, total)
        for done, (dy, dx) in enumerate(shifts, start=len(turned) + 1):
            # A shift is shared between both crops, so that each window stays inside its image.
            there = (dy // 2, dx // 2)
            here = (there[0] - dy, there[1] - dx)
            close = find_close(
                windows[here], windows[there], max_distance=MAX_DISTANCE_OVERLAP, pool=pool
            )
            yield from _confirm(fine, fine, close, (dy * step, dx * step))
            if on_progress:
                on_progress(done, total)


def _turn(images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The eight quarter turns and mirrorings of square images."""
    for image in (images, images.swapaxes(1, 2)):
        for y in (1, -1):
            for x in (1, -1):
                yield image[:, ::y, ::x]


def _hash_windows(coarse: NDArray[np.float32]) -> dict[Shift, NDArray[np.uint64]]:
    """Fingerprints of every window, by its offset from the centre."""
    room = COARSE_PX - WINDOW_PX
    return {
        (y - room // 2, x - room // 2): hash_images(coarse[:, y : y + WINDOW_PX, x : x + WINDOW_PX])
        for y in range(room + 1)
        for x in range(room + 1)
    }


def _confirm(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    pairs: NDArray[np.intp],
    shift: Shift,
) -> Iterator[Duplicate]:
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        chunk = chunk[_correlate(first, second, chunk, shift) >= _PROMISING]
        if not len(chunk):
            continue
        around = [(shift[0] + y, shift[1] + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        best = np.stack([_correlate(first, second, chunk, moved) for moved in around])
        shift_um = float(np.hypot(*shift)) * FIELD_UM / THUMBNAIL_PX
        for (i, j), correlation in zip(chunk.tolist(), best.max(axis=0).tolist(), strict=True):
            if correlation >= MIN_CORRELATION:
                yield Duplicate(i, j, correlation, shift_um)


def _correlate(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    pairs: NDArray[np.intp],
    shift: Shift,
) -> NDArray[np.float64]:
    """Normalised correlation over the area shared, pixel p of one on p + shift of the other.

    Returns:
        Shape (K,), −1 to 1; 0 where one of the two is flat.
    """
    here = tuple(slice(max(0, -d), THUMBNAIL_PX - max(0, d)) for d in shift)
    there = tuple(slice(max(0, d), THUMBNAIL_PX - max(0, -d)) for d in shift)
    a = first[pairs[:, 0]][:, *here].reshape(len(pairs), -1).astype(np.float64)
    b = second[pairs[:, 1]][:, *there].reshape(len(pairs), -1).astype(np.float64)
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    product: NDArray[np.float64] = (a * b).sum(axis=1)
    product[scale > 0] /= scale[scale > 0]
    return product
