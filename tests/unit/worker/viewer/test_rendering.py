from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.contract.failure import RegionUnreadable
from tests.builders import ArraySlide
from tests.slide_files import paint_smear, write_pyramid
from worker.overview import UNREADABLE
from worker.patch_store import PATCH_QUALITY
from worker.slide.geometry import Region, Size
from worker.slide.jpeg import encode_jpeg
from worker.slide.opening import open_slide
from worker.viewer.deep_zoom import DeepZoom, TileOutOfRange
from worker.viewer.rendering import (
    MAX_SOURCE_PX,
    TileTooCostly,
    read_patch_pixels,
    render_tile,
)

PIXELS = paint_smear(1100, 900)
UM = 0.1


def decode(jpeg: bytes) -> np.ndarray:
    image = Image.open(BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = write_pyramid(tmp_path_factory.mktemp("s") / "slide.tiff", PIXELS)
    with open_slide(path, um_per_px=UM, sha256="0" * 64) as opened:
        yield opened


@pytest.mark.parametrize(
    ("level", "column", "row"), [(11, 0, 0), (11, 2, 1), (10, 1, 0), (6, 0, 0)]
)
def test_a_tile_is_what_a_direct_read_of_its_place_gives(slide, level, column, row):
    step = 2 ** (11 - level)
    left, top = max(0, column * 512 - 1), max(0, row * 512 - 1)
    right = min(-(-1100 // step), (column + 1) * 512 + 1)
    bottom = min(-(-900 // step), (row + 1) * 512 + 1)
    region = Region(left * step, top * step, (right - left) * step, (bottom - top) * step)
    expected = encode_jpeg(slide.read(region, UM * step), PATCH_QUALITY)
    assert render_tile(slide, level, column, row) == expected


def test_colours_of_full_resolution_are_those_of_the_slide(slide):
    tile = decode(render_tile(slide, 11, 0, 0)).astype(int)
    assert np.abs(tile - PIXELS[:513, :513]).mean() < 2


@pytest.mark.parametrize("level", [11, 10, 9, 8])
def test_tiles_of_a_level_make_up_the_slide(slide, level):
    zoom = DeepZoom(slide.info.size)
    size, grid, step = zoom.level_size(level), zoom.tiles(level), 2 ** (11 - level)
    stitched = np.zeros((size.height, size.width, 3), np.uint8)
    for row in range(grid.height):
        for column in range(grid.width):
            tile = decode(render_tile(slide, level, column, row))
            x, y = max(0, column * 512 - 1), max(0, row * 512 - 1)
            stitched[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    whole = Region(0, 0, size.width * step, size.height * step)
    overview = slide.read(whole, UM * step).astype(int)
    assert np.abs(stitched - overview).mean() < 2
    assert np.abs(stitched - overview).max() < 40


def test_the_smallest_level_is_one_pixel(slide):
    assert decode(render_tile(slide, 0, 0, 0)).shape == (1, 1, 3)


def test_a_tile_that_is_not_there_is_named(slide):
    with pytest.raises(TileOutOfRange):
        render_tile(slide, 11, 3, 0)


def test_what_cannot_be_decoded_is_grey_and_the_rest_is_shown():
    damaged = ArraySlide(PIXELS, UM, damage=(Region(100, 100, 10, 10),))
    tile = decode(render_tile(damaged, 11, 0, 0)).astype(int)
    assert np.abs(tile[96:128, 96:128] - UNREADABLE).max() < 4
    assert np.abs(tile[200:, 200:] - PIXELS[200:513, 200:513]).mean() < 2
    grey = (np.abs(tile - UNREADABLE).max(axis=2) < 4).mean()
    assert grey < 0.02


def test_a_tile_of_nothing_readable_is_grey_all_over():
    damaged = ArraySlide(PIXELS, UM, damage=(Region(0, 0, 1100, 900),))
    assert np.abs(decode(render_tile(damaged, 9, 0, 0)).astype(int) - UNREADABLE).max() < 4


class HugeSlide(ArraySlide):
    """Says it is a side wide, without the pixels."""

    def __init__(self, side: int, downsamples: tuple[float, ...] = (1.0,)) -> None:
        super().__init__(PIXELS, UM, downsamples=downsamples)
        self._info = replace(self._info, size=Size(side, side))

    def read(self, region: Region, um_per_px: float) -> np.ndarray:
        size = region.output_size(self._info.um_per_px, um_per_px)
        return np.zeros((size.height, size.width, 3), np.uint8)


@pytest.mark.parametrize(("side", "refused"), [(11_585, False), (11_586, True)])
def test_a_slide_without_overview_is_not_decoded_as_a_whole(side, refused):
    slide = HugeSlide(side)
    assert (side**2 > MAX_SOURCE_PX) is refused
    if refused:
        with pytest.raises(TileTooCostly, match="export it as a pyramid"):
            render_tile(slide, 2, 0, 0)
    else:
        assert render_tile(slide, 2, 0, 0)


def test_the_smallest_levels_of_a_large_slide_are_averages_too(tmp_path):
    """Level 0 of 32,768 px is one px of 32,768 × 32,768: more than one read may average."""
    strip = np.zeros((256, 1 << 15, 3), np.uint8)
    strip[:, : 1 << 14] = 200
    path = write_pyramid(tmp_path / "s", strip, downsamples=(1,))
    with open_slide(path, um_per_px=UM, sha256="0" * 64) as slide:
        (half,) = decode(render_tile(slide, 1, 0, 0)).astype(int)
        (whole,) = decode(render_tile(slide, 0, 0, 0)).astype(int)
    inside = 256 / (1 << 14)  # the rest of a px is beyond the slide, white
    assert half.mean(axis=1) == pytest.approx([255 - 55 * inside, 255 - 255 * inside], abs=2)
    inside = 256 / (1 << 15)
    assert whole.mean() == pytest.approx(255 - 155 * inside, abs=2)


def test_a_patch_is_what_the_classifier_sees(slide):
    patch = read_patch_pixels(slide, 500.0, 400.0, patch_um=29.0, patch_px=400)
    assert patch.shape == (400, 400, 3)
    expected = np.asarray(Image.fromarray(PIXELS[255:545, 355:645]).resize((400, 400)))
    assert np.abs(patch.astype(int) - expected).mean() < 3


def test_a_patch_that_cannot_be_decoded_is_never_made_up():
    damaged = ArraySlide(PIXELS, UM, damage=(Region(500, 400, 1, 1),))
    with pytest.raises(RegionUnreadable):
        read_patch_pixels(damaged, 500.0, 400.0, patch_um=29.0, patch_px=400)
