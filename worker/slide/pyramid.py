"""Levels of a slide cut into tiles: what a reader has to offer to become a `Slide`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.slide.geometry import Size

MAX_ASPECT_ERROR: Final = 0.02


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """One level and its grid of tiles.

    Attributes:
        size: px of this level.
        downsample: level-0 px per px of this level.
        tile: px of a whole tile; those at the right and lower edge may reach beyond the level.
        stored: whether the file holds it. If not, it is decoded from a finer level's tiles.
    """

    size: Size
    downsample: float
    tile: Size
    stored: bool = True


class TileSource(Protocol):
    """A library's view of a slide: whole tiles, by level, column and row.

    Several threads may read tiles at once; it is closed when none does.
    """

    @property
    def levels(self) -> tuple[TiledLevel, ...]:
        """From full resolution down."""

    def read_tile(
        self, level: int, column: int, row: int, rows: int | None = None
    ) -> NDArray[np.uint8]:
        """One tile, less what reaches beyond the level.

        Args:
            rows: px needed from the top of the tile, 1 or more; None for all.

        Returns:
            RGB, shape (height, width, 3), never larger than the level's tile. `rows` px high or
            higher; which pixels come and whether the tile counts as sound does not depend on it.

        Raises:
            RegionUnreadable: the tile cannot be decoded. Other tiles still can.
        """

    def close(self) -> None:
        """Release the file."""


def measure_downsample(base: Size, level: Size, stated: float | None = None) -> float:
    """Level-0 px per px of a level.

    Writers divide by a whole number and drop or round up the remainder, so the ratio of sizes is
    off by up to a px over the level's width. If a power of two, or else the nearest whole number,
    explains the sizes to within one px, it is the downsample; otherwise `stated`, or the mean
    ratio of sizes.
    """
    ratio = stated or (base.width / level.width + base.height / level.height) / 2
    for whole in (2 ** round(float(np.log2(ratio))), round(ratio)):
        if (
            abs(level.width * whole - base.width) < whole
            and abs(level.height * whole - base.height) < whole
        ):
            return float(whole)
    return ratio


def fits_pyramid(base: Size, level: Size) -> bool:
    """Whether an image may be a smaller level of `base`: same shape, to the px it is rounded to."""
    if not (0 < level.width < base.width and 0 < level.height < base.height):
        return False
    across, down = base.width / level.width, base.height / level.height
    rounding = 1 / level.width + 1 / level.height
    return abs(across - down) <= (MAX_ASPECT_ERROR + rounding) * min(across, down)


def choose_level(levels: Sequence[TiledLevel], step_l0: float, tolerance: float) -> int:
    """Index of the coarsest level at most `tolerance` (a fraction) coarser than `step_l0`."""
    fitting = [i for i, level in enumerate(levels) if level.downsample <= step_l0 * (1 + tolerance)]
    return fitting[-1] if fitting else 0
