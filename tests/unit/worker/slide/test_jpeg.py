"""Reduced decoding against the area average of full decoding.

Tolerance: 6 grey levels of 255 at any px, one on average; on a rendered smear 3.5 and 0.4 were
measured: the lowest frequencies of a block are not quite its area average.
"""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tests.slide_files import paint_smear, shrink, write_abbreviated, write_pyramid
from worker.slide.geometry import Region
from worker.slide.jpeg import REDUCTIONS, decode_jpeg
from worker.slide.opening import open_slide

PIXELS = paint_smear(1304, 1104)
JPEG: bytes = imagecodecs.jpeg8_encode(PIXELS[:512, :512].copy(), level=90)
UM = 0.2


def test_full_size_is_what_imagecodecs_decodes() -> None:
    assert np.abs(decode_jpeg(JPEG).astype(int) - imagecodecs.jpeg8_decode(JPEG)).max() <= 1


@pytest.mark.parametrize("by", REDUCTIONS)
@pytest.mark.parametrize("size", [(512, 512), (509, 331)])
def test_a_reduced_size_is_the_area_average(by: int, size: tuple[int, int]) -> None:
    pixels = PIXELS[: size[0], : size[1]].copy()
    jpeg = imagecodecs.jpeg8_encode(pixels, level=90)
    reduced = decode_jpeg(jpeg, reduction=by)
    assert reduced.shape == (-(-size[0] // by), -(-size[1] // by), 3)
    wanted = shrink(decode_jpeg(jpeg), by).astype(int)
    errors = np.abs(reduced[: wanted.shape[0], : wanted.shape[1]] - wanted)
    assert errors.max() <= 6 and errors.mean() <= 1


@pytest.mark.parametrize("data", [JPEG[:9000], JPEG[:9000] + b"\xff\xd9"])
def test_data_that_end_early_are_an_error_and_not_grey(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)premature"):
        decode_jpeg(data)


def test_data_damaged_in_the_middle_are_an_error() -> None:
    with pytest.raises(ValueError, match="Corrupt"):
        decode_jpeg(JPEG[:9000] + b"\x37" * 60 + JPEG[9060:])


def test_padding_before_the_end_is_no_error() -> None:
    assert (decode_jpeg(JPEG[:-2] + b"\0\0" + JPEG[-2:]) == decode_jpeg(JPEG)).all()


@pytest.mark.parametrize("colour", ["ycbcr", "rgb", "tables"])
@pytest.mark.parametrize("by", [2, 3, 8])
def test_a_slide_without_a_pyramid_is_decoded_at_reduced_size(
    tmp_path: Path, colour: str, by: int
) -> None:
    path = tmp_path / "s"
    if colour == "tables":
        write_abbreviated(path, PIXELS[:1024, :1280])
    else:
        args = {"level": 90, **({"outcolorspace": "rgb"} if colour == "rgb" else {})}
        write_pyramid(path, PIXELS, downsamples=(1,), compressionargs=args)
    with open_slide(path, um_per_px=UM) as slide:
        assert [level.downsample for level in slide.info.levels] == [1]
        region = Region(24 * 5, 24 * 7, 24 * 20, 24 * 20)
        full = shrink(slide.read(region, UM), by).astype(int)
        errors = np.abs(slide.read(region, UM * by) - full)
    assert errors.max() <= 6 and errors.mean() <= 1


def test_a_level_that_is_stored_is_preferred_to_a_reduced_one(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, downsamples=(1, 4))
    with open_slide(path, um_per_px=UM) as slide:
        own = [(level.downsample, level.stored) for level in slide._source.levels]  # type: ignore[attr-defined]
    assert own == [(1, True), (2, False), (4, True), (8, False), (16, False), (32, False)]
