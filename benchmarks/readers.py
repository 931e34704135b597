"""The readers that can run in this process: ours, OpenSlide, TiffSlide, and bare decoding.

Each gives the same patches for the same centres, a patch at a time, so that what is measured is
reading and not the room for the result.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import tifffile
import tiffslide
from numpy.typing import NDArray

from benchmarks.slides import PATCH_PX, PATCH_UM, Centres
from worker.patches import read_patches
from worker.slide.opening import open_slide

Read = Callable[[], Iterator[tuple[int, NDArray[np.uint8]]]]
"""Reads all centres: (index of the centre, patch) in any order."""
Reader = Callable[[Path, Centres], AbstractContextManager[Read]]
"""Opens a slide for one round of reading."""


def read_ours(threads: int) -> Reader:
    """smearscan's own path, as the pipeline takes it."""

    @contextmanager
    def opened(path: Path, centres: Centres) -> Iterator[Read]:
        with open_slide(path, threads=threads) as slide:

            def read() -> Iterator[tuple[int, NDArray[np.uint8]]]:
                for batch in read_patches(slide, centres, patch_px=PATCH_PX, patch_um=PATCH_UM):
                    yield from zip(batch.cells, batch.patches, strict=True)

            yield read

    return opened


@contextmanager
def read_openslide(path: Path, centres: Centres) -> Iterator[Read]:
    """`OpenSlide.read_region` a centre, its colours without alpha."""
    with openslide.OpenSlide(path) as slide:

        def read() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            for index, corner in enumerate(corners(centres)):
                image = slide.read_region(corner, 0, (PATCH_PX, PATCH_PX))
                yield index, np.asarray(image.convert("RGB"))

        yield read


@contextmanager
def read_tiffslide(path: Path, centres: Centres) -> Iterator[Read]:
    """`TiffSlide.read_region` a centre, straight to an array."""
    with tiffslide.TiffSlide(path) as slide:

        def read() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            for index, corner in enumerate(corners(centres)):
                yield index, slide.read_region(corner, 0, (PATCH_PX, PATCH_PX), as_array=True)

        yield read


class RawTiles:
    """The compressed tiles that centres touch, and the time libjpeg-turbo alone needs for them."""

    def __init__(self, path: Path, centres: Centres) -> None:
        self._path = path
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            self.tile_px = int(page.tilewidth)
            across = -(-int(page.imagewidth) // self.tile_px)
            where = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        touched = {
            row * across + column
            for x, y in corners(centres)
            for row in range(y // self.tile_px, (y + PATCH_PX - 1) // self.tile_px + 1)
            for column in range(x // self.tile_px, (x + PATCH_PX - 1) // self.tile_px + 1)
        }
        self._where = [where[index] for index in sorted(touched)]

    @property
    def count(self) -> int:
        """Distinct tiles."""
        return len(self._where)

    @property
    def megapixels(self) -> float:
        """Of these tiles."""
        return self.count * self.tile_px**2 / 1e6

    @contextmanager
    def prepare(self) -> Iterator[Callable[[], None]]:
        """Every tile once: its bytes from the file, decoded to RGB, thrown away."""
        with self._path.open("rb") as stream:

            def decode() -> None:
                for offset, size in self._where:
                    data = os.pread(stream.fileno(), size, offset)
                    imagecodecs.jpeg8_decode(data, outcolorspace="RGB")

            yield decode


def corners(centres: Centres) -> list[tuple[int, int]]:
    """Top left level-0 px of the patches around whole centres."""
    return [(int(x) - PATCH_PX // 2, int(y) - PATCH_PX // 2) for x, y in centres]
