import xml.etree.ElementTree as ET
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.viewing import MAX_LEVEL, OVERLAP_PX, TILE_PX
from worker.slide.geometry import Size
from worker.slide.limits import MAX_SIDE_PX
from worker.viewer.deep_zoom import DeepZoom, TileOutOfRange

sides = st.integers(1, 300_000)


@pytest.mark.parametrize(
    ("width", "level"), [(1, 0), (2, 1), (512, 9), (513, 10), (1024, 10), (1025, 11)]
)
def test_the_last_level_is_the_first_power_of_two_that_holds_the_slide(width, level):
    assert DeepZoom(Size(width, 1)).max_level == level


def test_the_widest_slide_that_is_read_has_the_last_level_of_the_contract():
    assert DeepZoom(Size(MAX_SIDE_PX, 256)).max_level == MAX_LEVEL


@given(width=sides, height=sides)
def test_levels_have_the_sizes_that_openseadragon_computes(width, height):
    zoom = DeepZoom(Size(width, height))
    assert zoom.max_level == ceil(log2(max(width, height)))
    for level in range(zoom.max_level + 1):
        scale = 0.5 ** (zoom.max_level - level)
        assert zoom.level_size(level) == Size(ceil(width * scale), ceil(height * scale))


@given(width=sides, height=sides, data=st.data())
def test_tiles_cover_their_level_once_and_share_their_overlap(width, height, data):
    zoom = DeepZoom(Size(width, height))
    level = data.draw(st.integers(0, zoom.max_level))
    size, grid = zoom.level_size(level), zoom.tiles(level)
    end = 0
    for column in range(grid.width):
        tile = zoom.locate(level, column, 0)
        first = round(tile.region.x / tile.step_l0)
        assert first == (end - 2 * OVERLAP_PX if column else 0)
        assert tile.size.width <= TILE_PX + 2 * OVERLAP_PX
        assert tile.region.width == tile.size.width * tile.step_l0
        end = first + tile.size.width
    assert end == size.width


def test_a_tile_in_the_middle_has_its_overlap_on_every_side():
    tile = DeepZoom(Size(2048, 2048)).locate(11, 1, 2)
    assert (tile.region.x, tile.region.y) == (TILE_PX - 1, 2 * TILE_PX - 1)
    assert tile.size == Size(TILE_PX + 2, TILE_PX + 2)


def test_the_last_tile_is_cropped():
    tile = DeepZoom(Size(600, 513)).locate(10, 1, 1)
    assert tile.size == Size(600 - TILE_PX + 1, 2)


@pytest.mark.parametrize(
    ("level", "column", "row"), [(12, 0, 0), (-1, 0, 0), (11, 4, 0), (11, 0, 3), (11, -1, 0)]
)
def test_what_is_beyond_the_pyramid_is_named(level, column, row):
    zoom = DeepZoom(Size(2048, 1536))
    assert zoom.locate(11, 3, 2)
    with pytest.raises(TileOutOfRange, match=r"there is no level|has no tile"):
        zoom.locate(level, column, row)


def test_the_descriptor_says_size_and_tiles():
    image = ET.fromstring(DeepZoom(Size(2048, 1536)).describe())
    space = "{http://schemas.microsoft.com/deepzoom/2008}"
    assert image.tag == f"{space}Image"
    assert image.attrib == {"Format": "jpeg", "Overlap": "1", "TileSize": "512"}
    size = image.find(f"{space}Size")
    assert size is not None
    assert size.attrib == {"Width": "2048", "Height": "1536"}
