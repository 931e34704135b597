from pathlib import Path

import numpy as np
import pytest

from service.contract.failure import FailureCode, RegionUnreadable, SlideError
from tests.slide_files import locate_tile, overwrite, paint_smear, set_tag, write_pyramid
from worker.slide.openslide_tiles import OpenSlideTiles, detect_vendor

PIXELS = paint_smear(1100, 900)


def test_a_vendor_is_detected(tmp_path: Path) -> None:
    assert detect_vendor(write_pyramid(tmp_path / "s", PIXELS)) == "generic-tiff"


def test_no_vendor_is_detected_in_text(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("no slide")
    assert detect_vendor(tmp_path / "s") is None


def test_tiles_come_back_exactly_and_cut_at_the_edge(tmp_path: Path) -> None:
    source = OpenSlideTiles(write_pyramid(tmp_path / "s", PIXELS, compression="deflate"))
    assert (source.read_tile(0, 1, 2) == PIXELS[512:768, 256:512]).all()
    assert (source.read_tile(0, 4, 3) == PIXELS[768:, 1024:]).all()


def test_one_broken_tile_does_not_end_the_handle(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    overwrite(path, locate_tile(path, 6)[0], b"\x13" * 400)
    source = OpenSlideTiles(path)
    for _ in range(2):
        with pytest.raises(RegionUnreadable, match=r"tile \(1, 1\) of level 0"):
            source.read_tile(0, 1, 1)
        assert source.read_tile(0, 2, 1).shape == (256, 256, 3)


def test_a_transparent_tile_shows_the_background(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    set_tag(path, 324, 0, item=6)
    set_tag(path, 325, 0, item=6)
    assert (OpenSlideTiles(path).read_tile(0, 1, 1) == 255).all()


def test_a_file_openslide_cannot_open_is_unreadable_without_its_path(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS[:300, :300], compression="webp")
    with pytest.raises(SlideError) as caught:
        OpenSlideTiles(path)
    assert caught.value.code == FailureCode.SLIDE_UNREADABLE
    assert str(path) not in caught.value.message


def test_every_pixel_of_a_level_is_the_same_however_it_is_reached(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS[:899], downsamples=(1, 3), compression="deflate")
    first, second = OpenSlideTiles(path), OpenSlideTiles(path)
    backwards = second.read_tile(1, 1, 1)
    first.read_tile(1, 0, 0)
    assert np.array_equal(first.read_tile(1, 1, 1), backwards)
