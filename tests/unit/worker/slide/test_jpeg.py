"""Reduced decoding against the area average of full decoding, and some rows against all of them.

Tolerance: 6 grey levels of 255 at any px, one on average; on a rendered smear 3.5 and 0.4 were
measured: the lowest frequencies of a block are not quite its area average.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.slide_files import paint_smear, shrink, write_abbreviated, write_pyramid
from worker.slide.geometry import Region
from worker.slide.jpeg import REDUCTIONS, decode_jpeg, encode_jpeg
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


def test_code_that_breaks_off_before_a_restart_is_an_error() -> None:
    jpeg = encode(512, 512, restart_marker_rows=2)
    restart = jpeg.index(b"\xff\xd1")
    with pytest.raises(ValueError, match=r"extraneous bytes before marker 0xd"):
        decode_jpeg(jpeg[: restart - 700] + jpeg[restart - 800 :])


def test_padding_before_the_end_is_no_error() -> None:
    assert (decode_jpeg(JPEG[:-2] + b"\0\0" + JPEG[-2:]) == decode_jpeg(JPEG)).all()


def encode(width: int, height: int, **options: Any) -> bytes:
    stream = BytesIO()
    picture = Image.fromarray(PIXELS[:height, :width])
    picture.save(stream, "jpeg", **{"quality": 90, **options})
    return stream.getvalue()


@pytest.mark.parametrize("rows", [1, 7, 8, 15, 16, 17, 100, 239, 240, 255, 256, 400, 509])
@pytest.mark.parametrize("size", [(512, 512), (331, 509)])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:2:2"},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:0", "restart_marker_rows": 1},
        {"subsampling": "4:2:0", "restart_marker_blocks": 5},
        {"keep_rgb": True},
    ],
    ids=str,
)
def test_upper_rows_are_those_of_the_whole(
    options: dict[str, Any], size: tuple[int, int], rows: int
) -> None:
    jpeg = encode(*size, **options)
    whole, part = decode_jpeg(jpeg), decode_jpeg(jpeg, rows=rows)
    assert rows <= len(part) <= len(whole)
    if rows <= 100 or rows > 256:
        assert (len(part) < len(whole)) == (rows <= 100)
    assert (part[:rows] == whole[:rows]).all()


def test_upper_rows_are_those_of_the_whole_where_only_rows_are_subsampled() -> None:
    jpeg = imagecodecs.jpeg8_encode(PIXELS[:512, :512].copy(), level=90, subsampling="440")
    part = decode_jpeg(jpeg, rows=100)
    assert len(part) == 112 and (part[:100] == decode_jpeg(jpeg)[:100]).all()


def test_upper_rows_of_rgb_that_does_not_say_so_are_those_of_the_whole() -> None:
    jpeg = imagecodecs.jpeg8_encode(PIXELS[:512, :512].copy(), outcolorspace="rgb")
    whole = decode_jpeg(jpeg, is_rgb=True)
    assert (decode_jpeg(jpeg, is_rgb=True, rows=90)[:90] == whole[:90]).all()


def test_a_jpeg_in_several_passes_is_decoded_whole() -> None:
    jpeg = encode(512, 512, progressive=True)
    assert (decode_jpeg(jpeg, rows=16) == decode_jpeg(jpeg)).all()


def test_a_jpeg_with_anything_between_its_segments_is_decoded_whole() -> None:
    at = JPEG.index(b"\xff\xda")
    jpeg = JPEG[:at] + b"\xff" + JPEG[at:]  # a fill byte
    assert (decode_jpeg(jpeg, rows=16) == decode_jpeg(JPEG)).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_at_reduced_size_a_tile_is_decoded_whole(reduction: int) -> None:
    part = decode_jpeg(JPEG, reduction=reduction, rows=8)
    assert (part == decode_jpeg(JPEG, reduction=reduction)).all()


def decodes(jpeg: bytes, rows: int | None) -> bool:
    try:
        decode_jpeg(jpeg, rows=rows)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 2}])
@pytest.mark.parametrize("length", [1, 16, 512])
def test_damage_in_any_row_is_found_or_not_whichever_rows_are_needed(
    length: int, restarts: dict[str, int]
) -> None:
    jpeg = encode(512, 512, subsampling="4:2:0", **restarts)
    rng = np.random.default_rng(length)
    first, found = jpeg.index(b"\xff\xda") + 14, 0
    for at in rng.integers(first, len(jpeg) - 2 - length, 80).tolist():
        for damage in (bytes(length), rng.bytes(length)):
            damaged = jpeg[:at] + damage + jpeg[at + length :]
            whole = decodes(damaged, None)
            found += not whole
            assert decodes(damaged, 64) == whole
            assert decodes(damaged, 230) == whole
    assert found


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


def test_a_sequential_jpeg_of_a_second_scan_is_damaged_however_many_follow() -> None:
    """So nobody needs to count the scans of one whose first scan brings all samples."""
    data = encode_jpeg(np.full((64, 64, 3), 90, np.uint8), 90)
    scan = data[data.index(b"\xff\xda") : -2]
    for more in (1, 1000):
        with pytest.raises(ValueError, match="one scan"):
            decode_jpeg(data[:-2] + more * scan + data[-2:])
