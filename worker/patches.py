"""29 µm squares around detected leukocytes, cut from the slide at full resolution."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count, islice

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.protocol import Slide


@dataclass(frozen=True, slots=True, eq=False)
class PatchBatch:
    """Patches of some cells.

    Attributes:
        cells: K indices into the centres the batch was planned from.
        patches: RGB, shape (K, patch_px, patch_px, 3), 0–255, white beyond the slide.
        at_slide_edge: whether a patch reaches beyond the slide, shape (K,).
        unreadable: indices of cells whose pixels could not be decoded; they have no patch.
    """

    cells: tuple[int, ...]
    patches: NDArray[np.uint8]
    at_slide_edge: tuple[bool, ...]
    unreadable: tuple[int, ...]


def patch_region(
    centre: tuple[float, float], patch_px: int, patch_um: float, um_per_px_l0: float
) -> Region:
    """The square `patch_um` micrometres wide around a centre, level-0 frame.

    Its corner is moved by at most half a patch px (0.04 µm) onto the lattice of such px, so that a
    slide scanned at the patch's own scale is copied and not interpolated.
    """
    px_l0 = patch_um / patch_px / um_per_px_l0
    side = patch_px * px_l0
    x, y = (round((value - side / 2) / px_l0) * px_l0 for value in centre)
    return Region(x, y, side, side)


def read_patches(
    slide: Slide,
    centres: Sequence[tuple[float, float]],
    *,
    patch_px: int,
    patch_um: float,
    batch_size: int = 16,
) -> Iterator[PatchBatch]:
    """Read the patch of every cell, a batch at a time, ahead of its use.

    Args:
        centres: (x, y) in the level-0 frame.
        patch_px: width of a patch, px.
        patch_um: width of a patch, µm.
        batch_size: most patches of a batch: 16 of 400 × 400 px are 8 MB.

    Yields:
        Batches that hold every index into `centres` exactly once, as a patch or as unreadable; in
        the order in which the slide is best read.
    """
    regions = [patch_region(at, patch_px, patch_um, slide.info.um_per_px) for at in centres]
    begun: deque[NDArray[np.uint8]] = deque()
    places = count()

    def place(_: int) -> NDArray[np.uint8]:
        slot = next(places) % batch_size
        if slot == 0:
            begun.append(np.empty((batch_size, patch_px, patch_px, 3), np.uint8))
        patch: NDArray[np.uint8] = begun[-1][slot]
        return patch

    read = slide.read_each(regions, patch_um / patch_px, place)
    while found := list(islice(read, batch_size)):
        sound = [not isinstance(pixels, RegionUnreadable) for _, pixels in found]
        patches = begun.popleft()[: len(found)]
        cells = tuple(compress((index for index, _ in found), sound))
        yield PatchBatch(
            cells,
            patches if all(sound) else patches[sound],
            tuple(reaches_beyond(regions[index], slide.info.size) for index in cells),
            tuple(index for (index, _), is_sound in zip(found, sound, strict=True) if not is_sound),
        )


def reaches_beyond(region: Region, slide_size: Size) -> bool:
    """Whether part of a region lies outside the slide."""
    return (
        region.x < 0
        or region.y < 0
        or region.right > slide_size.width
        or region.bottom > slide_size.height
    )
