"""29 µm squares around detected leukocytes, cut from the slide at full resolution."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.protocol import Slide

BLOCK_L0: Final = 4096
"""Level-0 px; cells of one such square are read together, so neighbours share decoded tiles."""


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


def plan_patches(centres: Sequence[tuple[float, float]], batch_size: int) -> list[list[int]]:
    """Cut the list of cells into batches, block by block and in rows within a block.

    Args:
        centres: (x, y) in the level-0 frame.
        batch_size: most cells a batch holds; bounds memory.

    Returns:
        Indices into `centres`, each exactly once.
    """
    order = sorted(
        range(len(centres)),
        key=lambda i: (centres[i][1] // BLOCK_L0, centres[i][0] // BLOCK_L0, centres[i][::-1]),
    )
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def patch_region(centre: tuple[float, float], patch_um: float, um_per_px_l0: float) -> Region:
    """The square `patch_um` micrometres wide around a centre, level-0 frame."""
    side = patch_um / um_per_px_l0
    return Region(centre[0] - side / 2, centre[1] - side / 2, side, side)


def read_patches(
    slide: Slide,
    centres: Sequence[tuple[float, float]],
    *,
    patch_px: int,
    patch_um: float,
    batch_size: int = 64,
) -> Iterator[PatchBatch]:
    """Read the patch of every cell, a batch at a time.

    Args:
        centres: (x, y) in the level-0 frame.
        patch_px: width of a patch, px.
        patch_um: width of a patch, µm.
        batch_size: most patches held at once: 64 of 400 × 400 px are 31 MB.

    Yields:
        Batches that hold every index into `centres` exactly once, as a patch or as unreadable.
    """
    for planned in plan_patches(centres, batch_size):
        yield _read_batch(slide, centres, planned, patch_px=patch_px, patch_um=patch_um)


def _read_batch(
    slide: Slide,
    centres: Sequence[tuple[float, float]],
    planned: Sequence[int],
    *,
    patch_px: int,
    patch_um: float,
) -> PatchBatch:
    patches = np.empty((len(planned), patch_px, patch_px, 3), np.uint8)
    cells: list[int] = []
    at_edge: list[bool] = []
    unreadable: list[int] = []
    for index in planned:
        region = patch_region(centres[index], patch_um, slide.info.um_per_px)
        try:
            patches[len(cells)] = slide.read(region, patch_um / patch_px)
        except RegionUnreadable:
            unreadable.append(index)
            continue
        cells.append(index)
        at_edge.append(reaches_beyond(region, slide.info.size))
    return PatchBatch(tuple(cells), patches[: len(cells)], tuple(at_edge), tuple(unreadable))


def reaches_beyond(region: Region, slide_size: Size) -> bool:
    """Whether part of a region lies outside the slide."""
    return (
        region.x < 0
        or region.y < 0
        or region.right > slide_size.width
        or region.bottom > slide_size.height
    )
