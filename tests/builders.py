"""Inputs the tests share."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

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

    def read_each(
        self,
        regions: Sequence[Region],
        um_per_px: float,
        place: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.uint8] | RegionUnreadable]]:
        for index in reversed(range(len(regions))):  # any order is allowed
            out = None if place is None else place(index)
            try:
                pixels = self.read(regions[index], um_per_px)
            except RegionUnreadable as err:
                yield index, err
                continue
            if out is not None:
                out[...] = pixels
            yield index, pixels if out is None else out

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


def lay_cells(
    shape: tuple[int, int],
    um_per_px: float,
    *,
    sheets: int = 1,
    spacing_um: float = 11.0,
    diameter_um: float = 7.5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """How many round cells lie over each pixel; those of one sheet do not touch.

    Args:
        shape: height and width, px.
        sheets: laid over each other, each in its own arrangement.
        spacing_um: mean distance of neighbours in a sheet; 11 µm is 0.37 layers a sheet.
    """
    rng = np.random.default_rng(seed)
    places = np.zeros(shape, np.float32)
    jitter = (spacing_um - diameter_um) / 2
    for _ in range(sheets):
        offset = rng.uniform(0, spacing_um, 2)
        y, x = np.mgrid[
            0 : shape[0] * um_per_px : spacing_um, 0 : shape[1] * um_per_px : spacing_um
        ]
        rows, cols = (
            ((axis + offset[i] + rng.uniform(-jitter, jitter, axis.shape)) / um_per_px).astype(int)
            for i, axis in enumerate((y, x))
        )
        inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
        np.add.at(places, (rows[inside], cols[inside]), 1)
    reach = round(diameter_um / um_per_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * um_per_px
    disc = np.clip((diameter_um / 2 - np.hypot(y, x)) / 0.8 + 0.5, 0, 1)
    layers: NDArray[np.float32] = fftconvolve(places, disc, mode="same").astype(np.float32)
    return np.maximum(layers, 0)


RED_CELL = (0.33, 0.55, 0.42)
"""Density of a red cell in red, green and blue light, natural log."""
NUCLEUS = (1.1, 1.5, 0.5)
"""Density of a nucleus in red, green and blue light, natural log."""
GLASS = (248.0, 226.0, 205.0)


def expose(
    red_cells: NDArray[np.float32],
    nuclei: NDArray[np.float32] | float = 0.0,
    *,
    glass: tuple[float, float, float] = GLASS,
    stain: float = 1.0,
) -> NDArray[np.uint8]:
    """The picture of cells laid on glass, with a little camera noise.

    Args:
        red_cells: layers over each pixel, shape (height, width).
        nuclei: layers over each pixel, same shape.
        stain: factor of every density.
    """
    density = stain * (
        red_cells[..., None] * np.array(RED_CELL, np.float32)
        + np.asarray(nuclei, np.float32)[..., None] * np.array(NUCLEUS, np.float32)
    )
    noise = np.random.default_rng(1).normal(0, 1, density.shape).astype(np.float32)
    light = np.array(glass, np.float32) * np.exp(-density) + noise
    picture: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return picture
