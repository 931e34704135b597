"""What every slide reader offers, whatever library is behind it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from worker.slide.geometry import Region, Size


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the pyramid.

    Attributes:
        size: in px of this level.
        downsample: level-0 px per px of this level (1.0 for level 0).
    """

    size: Size
    downsample: float


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What is known of a slide before a pixel is read.

    Attributes:
        format: the sniffed format, e.g. "aperio", "ome-tiff", "generic-tiff".
        reader: library and version that reads it, e.g. "openslide 4.0.0".
        size: level 0, px.
        um_per_px: micrometres per level-0 px (the mean of x and y).
        um_per_px_source: "request", or the metadata it was read from: "aperio.MPP",
            "ome:PhysicalSizeX", "tiff:XResolution", "openslide.mpp-x". Never guessed.
        levels: from full resolution down.
        sha256: of the file's bytes, hex; of the named file alone where a slide has several.
        icc_profile: whether the file carries an ICC profile. It is not applied.
    """

    format: str
    reader: str
    size: Size
    um_per_px: float
    um_per_px_source: str
    levels: tuple[Level, ...]
    sha256: str
    icc_profile: bool


class Slide(Protocol):
    """An open slide. One per process, used by one thread; it may read with threads of its own."""

    @property
    def info(self) -> SlideInfo:
        """Size, scale and provenance."""

    def read(self, region: Region, um_per_px: float) -> NDArray[np.uint8]:
        """Pixels of a region at a physical scale.

        The result is a function of slide position only: two overlapping regions whose corners lie
        on one lattice of step `um_per_px` return the same values where they overlap; to two grey
        levels where the slide is coarser and pixels are interpolated.

        Args:
            region: level-0 frame; parts beyond the slide come back white (255).
            um_per_px: micrometres per output pixel; read from the nearest finer level (one up to
                1 % coarser counts) and area-averaged down, or interpolated up where the slide is
                coarser.

        Returns:
            RGB, shape (height, width, 3), 0–255, of `region.output_size(...)`.

        Raises:
            RegionUnreadable: these pixels cannot be decoded. The slide stays usable.
        """

    def read_each(
        self,
        regions: Sequence[Region],
        um_per_px: float,
        place: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.uint8] | RegionUnreadable]]:
        """Read many regions in the order that suits the file, ahead of their use.

        Args:
            regions: level-0 frame.
            um_per_px: micrometres per output pixel.
            place: gives, for an index into `regions`, the array its pixels are written to, of the
                shape that `read` returns. It is asked in the order in which results come, from the
                thread that takes them, ahead of them. Without it each result is a new array.

        Yields:
            Every index into `regions` once, with what `read` would return or raise for it; pixels
            as the array that `place` gave. After an error that array holds anything.
        """

    def close(self) -> None:
        """Release the file. Further reads are an error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
