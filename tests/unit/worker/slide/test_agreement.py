from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from service.contract.failure import FailureCode, SlideError
from tests.slide_files import shrink
from tests.smears import paint_field
from worker.slide.opening import open_slide

PIXELS, _ = paint_field(1024, 1024, 0.25)
Picture = NDArray[np.uint8]


def open_levels(path: Path, *levels: Picture) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for level in levels:
            tiff.write(level, tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None)
    open_slide(path, um_per_px=0.25).close()


@pytest.mark.parametrize("by", [2, 4, 8, 32])
def test_levels_of_one_picture_agree_however_far_apart(tmp_path: Path, by: int) -> None:
    open_levels(tmp_path / "s", PIXELS, shrink(PIXELS, by))


@pytest.mark.parametrize("by", [2, 4, 8, 16, 32])
def test_a_level_that_drops_px_instead_of_averaging_agrees(tmp_path: Path, by: int) -> None:
    open_levels(tmp_path / "s", PIXELS, np.ascontiguousarray(PIXELS[::by, ::by]))


@pytest.mark.parametrize("px", [1, 2])
def test_a_level_that_lies_off_by_a_px_or_two_agrees(tmp_path: Path, px: int) -> None:
    open_levels(tmp_path / "s", PIXELS, np.roll(shrink(PIXELS, 2), px, axis=1))


def test_glass_left_out_of_full_resolution_agrees_with_its_overview(tmp_path: Path) -> None:
    white, glass = np.full_like(PIXELS, 255), np.full_like(PIXELS, 230)
    open_levels(tmp_path / "s", white, shrink(glass, 4))


@pytest.mark.parametrize(
    "level",
    [
        pytest.param(np.ascontiguousarray(shrink(PIXELS, 2)[:, ::-1]), id="mirrored"),
        pytest.param(np.full((256, 256, 3), 255, np.uint8), id="blank"),
        pytest.param(np.full((32, 32, 3), 255, np.uint8), id="small and blank"),
        pytest.param(shrink(PIXELS, 4) // 2, id="darker"),
    ],
)
def test_a_level_of_another_picture_is_refused(tmp_path: Path, level: Picture) -> None:
    with pytest.raises(SlideError, match=r"level 1 .* another picture than level 0") as caught:
        open_levels(tmp_path / "s", PIXELS, level)
    assert caught.value.code is FailureCode.SLIDE_UNREADABLE
