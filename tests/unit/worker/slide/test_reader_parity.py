"""Three libraries, one JPEG pyramid, the same pixels.

Tolerance: 1 grey level of 255, for rounding in colour conversion by different libjpeg builds; with
the wheels of 2026 all three agree exactly. Sides are multiples of the downsamples: elsewhere
OpenSlide interpolates between px of a level, because it addresses them in level-0 px.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tiffslide

from tests.slide_files import paint_smear, write_abbreviated, write_pyramid
from worker.slide.geometry import Region
from worker.slide.opening import open_slide

PIXELS = paint_smear(1304, 1104)
TOLERANCE = 1
APERIO = "Aperio Image Library v12.0\n1304x1104 (256x256) JPEG/RGB Q=90|AppMag = 40|MPP = 0.2"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": (2, 2)},
        {"subsampling": (2, 1)},
        {"subsampling": (1, 1)},
        {"compressionargs": {"level": 90, "outcolorspace": "rgb"}},
        {"first": {"description": APERIO}},
        {"tile_px": 512},
        {"bigtiff": True},
    ],
)
def test_tifffile_openslide_and_tiffslide_agree(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, **options)
    reference = openslide.OpenSlide(path)
    with open_slide(path, um_per_px=0.2) as slide, tiffslide.TiffSlide(path) as other:
        assert slide.info.reader.startswith("tifffile ")
        assert [(a.size.width, a.size.height) for a in slide.info.levels] == list(
            reference.level_dimensions
        )
        for level, downsample in enumerate((1, 2, 4)):
            ours = slide.read(
                Region(100 * downsample, 60 * downsample, 220 * downsample, 180 * downsample),
                0.2 * downsample,
            ).astype(int)
            origin = (100 * downsample, 60 * downsample)
            theirs = np.asarray(reference.read_region(origin, level, (220, 180)))[..., :3]
            assert np.abs(ours - theirs).max() <= TOLERANCE
            if level >= other.level_count:  # TiffSlide wants Aperio's order of directories
                continue
            again = other.read_region(origin, level, (220, 180), as_array=True)
            assert np.abs(ours - again).max() <= TOLERANCE
    reference.close()


def test_tiles_that_share_their_jpeg_tables_agree_with_openslide(tmp_path: Path) -> None:
    path = write_abbreviated(tmp_path / "s", PIXELS[:1024, :1280])
    with open_slide(path, um_per_px=0.2) as slide, openslide.OpenSlide(path) as reference:
        ours = slide.read(Region(200, 150, 600, 500), 0.2).astype(int)
        theirs = np.asarray(reference.read_region((200, 150), 0, (600, 500)))[..., :3]
    assert np.abs(ours - theirs).max() <= TOLERANCE
    assert np.abs(ours - PIXELS[150:650, 200:800]).mean() < 3
