"""Whether the levels of a pyramid show one picture.

Cells are found on one level and judged on another, and glass is told from smear on a third. A
level of another scan, or one that was never filled, would give counts of nothing, or cells that are
not where they were found. Each level is compared with the next finer one at a few spots.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import FailureCode, RegionUnreadable, SlideError
from worker.slide.geometry import Region
from worker.slide.protocol import Level, Slide
from worker.slide.resampling import plan_taps, resample

SPOTS: Final = 4
"""Spots along either axis."""
SPOT_PX: Final = 32
"""Edge of a spot, px of the coarser level; less where that would be many px of the finer one."""
MAX_FINE_PX: Final = 512
TEXTURE: Final = 6.0
"""Standard deviation, grey levels, from which a spot shows something: the emptiest spots of the
mosaics have 0.3 to 0.9."""
MAX_SHIFT: Final = 40.0
"""Grey levels between the means of two flat spots: white for what was not scanned is within."""
MAX_TINT: Final = 20.0
"""Grey levels between the means of two spots of which one shows something."""
MIN_CORRELATION: Final = 0.2
CELLS_UM_PER_PX: Final = 1.2
"""Scale up to which a cell is several px wide, so that two ways to shrink it look alike."""
MIN_SPOTS: Final = 3


def check_agreement(slide: Slide) -> None:
    """Compare each level of a slide with the next finer one.

    Spots that cannot be decoded or show nothing decide nothing.

    Raises:
        SlideError: slide_unreadable; most of at least `MIN_SPOTS` spots of a level differ.
    """
    for number, (fine, coarse) in enumerate(pairwise(slide.info.levels), start=1):
        verdicts = list(_compare(slide, fine, coarse))
        differing = sum(verdicts)
        if len(verdicts) >= MIN_SPOTS and 2 * differing > len(verdicts):
            raise SlideError(
                FailureCode.SLIDE_UNREADABLE,
                f"level {number} ({coarse.size.width} × {coarse.size.height} px) shows another"
                f" picture than level {number - 1} at {differing} of {len(verdicts)} spots, half"
                " are allowed: its pyramid is not of one scan; export the slide again",
            )


def _compare(slide: Slide, fine: Level, coarse: Level) -> Iterator[bool]:
    """Whether the levels differ, for each spot that shows something."""
    ratio = coarse.downsample / fine.downsample
    edge = max(4, min(SPOT_PX, int(MAX_FINE_PX / ratio)))
    um_per_px = slide.info.um_per_px
    taps = plan_taps(0.0, ratio, edge)
    for place_y in range(SPOTS):
        for place_x in range(SPOTS):
            x, y = (
                max(0, int((place + 0.5) / SPOTS * length - edge / 2)) * coarse.downsample
                for place, length in ((place_x, coarse.size.width), (place_y, coarse.size.height))
            )
            region = Region(x, y, edge * coarse.downsample, edge * coarse.downsample)
            try:
                small = slide.read(region, um_per_px * coarse.downsample)
                large = slide.read(region, um_per_px * fine.downsample)
            except RegionUnreadable:
                continue
            window = np.full((taps.stop, taps.stop, 3), 255, np.uint8)
            part = large[: taps.stop, : taps.stop]
            window[: part.shape[0], : part.shape[1]] = part
            verdict = _differ(
                small.mean(axis=2),
                resample(window, taps, taps).mean(axis=2),
                with_cells=um_per_px * coarse.downsample <= CELLS_UM_PER_PX,
            )
            if verdict is not None:
                yield verdict


def _differ(one: NDArray[np.float64], other: NDArray[np.float64], with_cells: bool) -> bool | None:
    """Whether two spots show different things; None where neither shows anything."""
    shift = abs(float(one.mean() - other.mean()))
    spreads = float(one.std()), float(other.std())
    if max(spreads) < TEXTURE:
        return True if shift > MAX_SHIFT else None
    if shift > MAX_TINT:
        return True
    if not with_cells:
        return False
    if min(spreads) < TEXTURE / 2:
        return True
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < MIN_CORRELATION
