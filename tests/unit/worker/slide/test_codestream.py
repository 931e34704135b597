import struct

import imagecodecs
import numpy as np
import pytest

from tests.slide_files import paint_smear
from worker.slide.codestream import MAX_SCANS, find_defect
from worker.slide.geometry import Size

TILE = Size(256, 256)
PIXELS = paint_smear(256, 256)
JPEG: bytes = imagecodecs.jpeg8_encode(PIXELS)
JPEG2000: bytes = imagecodecs.jpeg2k_encode(PIXELS, codecformat="J2K")


@pytest.mark.parametrize("data", [JPEG, JPEG2000, JPEG + b"\0\0"])
def test_a_sound_tile_has_no_defect(data: bytes) -> None:
    assert find_defect(data, TILE) is None


def test_an_edge_tile_may_be_smaller() -> None:
    assert find_defect(imagecodecs.jpeg8_encode(PIXELS[:100, :50].copy()), TILE) is None


@pytest.mark.parametrize("data", [JPEG, JPEG2000])
def test_a_tile_larger_than_its_place_is_a_defect(data: bytes) -> None:
    assert "256 × 256 px" in (find_defect(data, Size(255, 256)) or "")


def test_a_bomb_is_a_defect() -> None:
    at = JPEG.index(b"\xff\xc0") + 5
    bomb = JPEG[:at] + struct.pack(">HH", 60_000, 60_000) + JPEG[at + 4 :]
    assert "60000 × 60000" in (find_defect(bomb, TILE) or "")


@pytest.mark.parametrize("data", [JPEG, JPEG2000])
def test_half_a_tile_is_a_defect(data: bytes) -> None:
    assert find_defect(data[: len(data) // 2], TILE) == "it ends early"


@pytest.mark.parametrize("cut", range(0, 40, 3))
@pytest.mark.parametrize("data", [JPEG, JPEG2000])
def test_a_stump_is_a_defect(data: bytes, cut: int) -> None:
    assert find_defect(data[:cut], TILE) is not None


@pytest.mark.parametrize("samples", [1, 4])
def test_a_tile_of_other_samples_than_three_is_a_defect(samples: int) -> None:
    picture = np.squeeze(np.repeat(PIXELS[..., :1], samples, axis=2))
    for data in (imagecodecs.jpeg8_encode(picture), imagecodecs.jpeg2k_encode(picture)):
        assert f"{samples} samples" in (find_defect(data, TILE) or "")


@pytest.mark.parametrize(("marker", "sound"), [(0xC1, True), (0xC3, False), (0xC9, False)])
def test_a_coding_process_that_slides_do_not_have_is_a_defect(marker: int, sound: bool) -> None:
    data = JPEG.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    assert (find_defect(data, TILE) is None) == sound


@pytest.mark.parametrize("more", [0, 1])
def test_scans_are_limited(more: int) -> None:
    scan = JPEG.index(b"\xff\xda")
    data = JPEG[:scan] + (MAX_SCANS - 1 + more) * b"\xff\xda\0\0" + JPEG[scan:]
    assert (find_defect(data, TILE) is None) == (not more)


def test_garbage_is_a_defect() -> None:
    assert find_defect(b"\x13" * 5000, TILE) == "it has no header"
