"""Inputs the tests share."""

from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size
from worker.slide.protocol import Level, SlideInfo
from worker.slide.resampling import plan_taps, resample


class ArraySlide:
    """A `Slide` over an array; every level is resampled from it.

    Args:
        pixels: level 0, RGB, shape (height, width, 3).
        um_per_px: of level 0.
        downsamples: of the levels the slide says it has.
        damage: rectangles of the level-0 frame that cannot be decoded.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        um_per_px: float,
        *,
        downsamples: tuple[float, ...] = (1.0,),
        damage: tuple[Region, ...] = (),
    ) -> None:
        height, width = pixels.shape[:2]
        self._pixels = pixels
        self._damage = damage
        self._info = SlideInfo(
            format="array",
            reader="numpy",
            size=Size(width, height),
            um_per_px=um_per_px,
            um_per_px_source="request",
            levels=tuple(
                Level(Size(round(width / by), round(height / by)), by) for by in downsamples
            ),
            sha256="0" * 64,
            icc_profile=False,
        )

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, region: Region, um_per_px: float) -> NDArray[np.uint8]:
        if any(_overlap(region, damaged) for damaged in self._damage):
            raise RegionUnreadable("damaged on purpose")
        size = region.output_size(self._info.um_per_px, um_per_px)
        step = um_per_px / self._info.um_per_px
        rows = plan_taps(region.y, step, size.height)
        columns = plan_taps(region.x, step, size.width)
        window = np.full((rows.stop - rows.first, columns.stop - columns.first, 3), 255, np.uint8)
        y0, x0 = max(0, rows.first), max(0, columns.first)
        inside = self._pixels[y0 : max(0, rows.stop), x0 : max(0, columns.stop)]
        y, x = y0 - rows.first, x0 - columns.first
        window[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return resample(window, rows, columns)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _overlap(one: Region, other: Region) -> bool:
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )
