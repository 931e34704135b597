"""Random damage: whatever the bytes, a slide or a typed failure, soon and in little memory."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.failure import RegionUnreadable, SlideError
from tests.memory import forget_peak, peak_mib
from tests.slide_files import paint_smear, write_pyramid
from worker.slide.geometry import Region
from worker.slide.opening import open_slide

PIXELS = paint_smear(600, 500)
ROUNDS = 40
MAX_GROWTH_MIB = 256
APERIO = "Aperio Image Library v12.0\n600x500 (256x256) JPEG/RGB Q=90|AppMag = 40|MPP = 0.2"
OME = {"axes": "YXS", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"}


def survive(path: Path) -> bool:
    """Open and read; whether pixels came back."""
    try:
        with open_slide(path, um_per_px=0.2) as slide:
            size = slide.info.size
            slide.read(Region(0, 0, 300, 300), 0.2)
            slide.read(Region(size.width / 2, size.height / 2, 300, 300), 0.8)
    except (SlideError, RegionUnreadable):
        return False
    return True


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "deflate", "predictor": True},
        {"compression": "lzw"},
        {"compression": "jpeg2000"},
        {"compression": None, "bigtiff": True},
        {"first": {"description": APERIO}},
        {"sub_ifds": True, "ome": True, "metadata": OME},
    ],
)
def test_random_damage_gives_pixels_or_a_typed_failure(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    sound = write_pyramid(tmp_path / "sound", PIXELS, downsamples=(1, 2), **options).read_bytes()
    path = tmp_path / "damaged"
    rng = np.random.default_rng(1)
    worst = 0.0
    forget_peak()
    before = peak_mib()
    for round_ in range(ROUNDS):
        data = bytearray(sound)
        head = 1500 if round_ % 3 else len(data)
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(4, head))] = int(rng.integers(0, 256))
        path.write_bytes(data)
        started = time.monotonic()
        survive(path)
        worst = max(worst, time.monotonic() - started)
    assert worst < 5
    assert peak_mib() - before < MAX_GROWTH_MIB


@pytest.mark.parametrize("head", [b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"])
def test_noise_behind_a_tiff_magic_is_a_typed_failure(tmp_path: Path, head: bytes) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "noise"
    for _ in range(50):
        links = int(rng.integers(8, 600)).to_bytes(8, "little" if head[:1] == b"I" else "big")
        body = rng.integers(0, rng.integers(2, 256), 4000, dtype=np.uint8).tobytes()
        path.write_bytes(head + links[-8:] + body)
        assert not survive(path)
