"""Slides read by OpenSlide: vendor formats. The one place where its errors are translated."""

from pathlib import Path
from typing import Final

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from service.contract.failure import FailureCode, RegionUnreadable, SlideError
from worker.slide.geometry import Size
from worker.slide.pyramid import TiledLevel, fits_pyramid, measure_downsample
from worker.slide.resolution import StatedResolution

READER: Final = f"openslide {openslide.__library_version__}"
_BLOCK: Final = Size(512, 512)
"""Read unit of formats whose own tiles are tiny, huge or not on one grid."""
_TILE_EDGE_PX: Final = range(128, 2049)


def detect_vendor(path: Path) -> str | None:
    """OpenSlide's name for the file's format, e.g. "aperio"; None if it knows none."""
    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None
    return None if vendor is None else str(vendor)


class OpenSlideTiles:
    """A `TileSource` over OpenSlide.

    OpenSlide addresses every level in whole level-0 px. Where its downsample is not a whole number
    a tile may therefore lie up to half a level-0 px off; all reads go tile by tile, so every px of
    a level always has the same value.

    Raises:
        SlideError: slide_unreadable, OpenSlide knows the format but cannot open the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[openslide.OpenSlide] = []
        try:
            handle = openslide.OpenSlide(path)
            self._idle.append(handle)
            sizes = handle.level_dimensions
            downsamples = handle.level_downsamples
            self._properties = dict(handle.properties)
        except openslide.OpenSlideError as err:
            raise SlideError(
                FailureCode.SLIDE_UNREADABLE,
                f"{READER} cannot open the slide: {_reason(err, path)}; copy or export it again",
            ) from err
        base = Size(*sizes[0])
        self._native: list[int] = []
        self._downsamples = downsamples
        levels: list[TiledLevel] = []
        for i, (size, downsample) in enumerate(
            zip((Size(*size) for size in sizes), downsamples, strict=True)
        ):
            if i == 0 or (fits_pyramid(base, size) and downsample > levels[-1].downsample):
                whole = measure_downsample(base, size, downsample)
                self._native.append(i)
                levels.append(TiledLevel(size, whole, self._tile_size(i)))
        self._levels = tuple(levels)
        background = self._properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
        self._background = f"#{background}"

    @property
    def levels(self) -> tuple[TiledLevel, ...]:
        """From full resolution down; levels of another shape are left out."""
        return self._levels

    @property
    def has_icc_profile(self) -> bool:
        """Whether the slide carries a colour profile."""
        return int(self._properties.get("openslide.icc-size", 0)) > 0

    @property
    def resolution(self) -> StatedResolution | None:
        """What OpenSlide found in the vendor's metadata."""
        try:
            x = float(self._properties[openslide.PROPERTY_NAME_MPP_X])
            y = float(self._properties[openslide.PROPERTY_NAME_MPP_Y])
        except (KeyError, ValueError):
            return None
        return StatedResolution(x, y, openslide.PROPERTY_NAME_MPP_X)

    def read_tile(
        self, level: int, column: int, row: int, rows: int | None = None
    ) -> NDArray[np.uint8]:
        """One whole tile, composited over the slide's background colour; see `TileSource`."""
        grid = self._levels[level]
        x, y = column * grid.tile.width, row * grid.tile.height
        width = min(grid.tile.width, grid.size.width - x)
        height = min(grid.tile.height, grid.size.height - y)
        native = self._native[level]
        downsample = self._downsamples[native]
        origin_l0 = (round(x * downsample), round(y * downsample))
        handle: openslide.OpenSlide | None = None
        try:
            handle = self._take_handle()
            image = handle.read_region(origin_l0, native, (width, height))
        except openslide.OpenSlideError as err:
            if handle is not None:
                handle.close()  # one error makes a handle unusable for good
            raise RegionUnreadable(
                f"tile ({column}, {row}) of level {level} cannot be decoded:"
                f" {_reason(err, self._path)}"
            ) from err
        self._idle.append(handle)
        return self._flatten(image)

    def close(self) -> None:
        """Release the file."""
        while self._idle:
            self._idle.pop().close()

    def _take_handle(self) -> openslide.OpenSlide:
        """A handle that no other thread uses; as many are opened as threads read at once."""
        try:
            return self._idle.pop()
        except IndexError:
            return openslide.OpenSlide(self._path)

    def _flatten(self, image: Image.Image) -> NDArray[np.uint8]:
        pixels = np.asarray(image)
        if pixels[..., 3].min() == 255:
            return np.ascontiguousarray(pixels[..., :3])
        flat = Image.new("RGB", image.size, self._background)
        flat.paste(image, mask=image)
        return np.asarray(flat)

    def _tile_size(self, native: int) -> Size:
        try:
            width, height = (
                int(self._properties[f"openslide.level[{native}].tile-{side}"])
                for side in ("width", "height")
            )
        except (KeyError, ValueError):
            return _BLOCK
        usable = width in _TILE_EDGE_PX and height in _TILE_EDGE_PX
        return Size(width, height) if usable else _BLOCK


def _reason(err: openslide.OpenSlideError, path: Path) -> str:
    """The library's words without the file's path, which may name a patient."""
    return str(err).replace(str(path), "the file")
