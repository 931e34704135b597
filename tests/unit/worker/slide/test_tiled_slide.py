import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.contract.failure import RegionUnreadable
from tests.slide_files import locate_tile, overwrite, paint_smear, shrink, write_pyramid
from worker.slide.geometry import Region
from worker.slide.opening import open_slide
from worker.slide.protocol import Slide

WIDTH, HEIGHT = 1301, 1103
PIXELS = paint_smear(WIDTH, HEIGHT)
UM = 0.2


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    path = tmp_path_factory.mktemp("slides") / "lossless"
    write_pyramid(path, PIXELS, compression="deflate")
    with open_slide(path, um_per_px=UM) as slide:
        yield slide


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_level_zero_comes_back_pixel_by_pixel(lossless: Slide) -> None:
    pixels = lossless.read(Region(250, 130, 300, 200), UM)
    assert difference(pixels, PIXELS[130:330, 250:550]) == 0


def test_a_coarser_level_comes_back_pixel_by_pixel(lossless: Slide) -> None:
    pixels = lossless.read(Region(400, 200, 400, 300), 2 * UM)
    assert difference(pixels, shrink(PIXELS, 2)[100:250, 200:400]) == 0


def test_a_scale_between_levels_is_averaged_from_the_finer_one(lossless: Slide) -> None:
    pixels = lossless.read(Region(300, 300, 300, 300), 3 * UM)
    pairs = np.repeat(np.repeat(shrink(PIXELS, 2)[150:300, 150:300], 2, axis=0), 2, axis=1)
    assert difference(pixels, shrink(pairs, 3)) <= 1


def test_a_finer_scale_is_interpolated_like_pillow_does(lossless: Slide) -> None:
    pixels = lossless.read(Region(300, 300, 290, 290), UM * 290 / 400)
    image = Image.fromarray(PIXELS[200:700, 200:700])
    expected = image.resize((400, 400), Image.Resampling.BILINEAR, box=(100, 100, 390, 390))
    assert pixels.shape == (400, 400, 3)
    assert difference(pixels, np.asarray(expected)) <= 1


def test_beyond_the_slide_is_white(lossless: Slide) -> None:
    pixels = lossless.read(Region(-100, -50, 200, 100), UM)
    assert (pixels[:50] == 255).all() and (pixels[:, :100] == 255).all()
    assert difference(pixels[50:, 100:], PIXELS[:50, :100]) == 0


def test_the_far_corner_is_padded_white(lossless: Slide) -> None:
    pixels = lossless.read(Region(WIDTH - 10, HEIGHT - 20, 30, 30), UM)
    assert difference(pixels[:20, :10], PIXELS[-20:, -10:]) == 0
    assert (pixels[20:] == 255).all() and (pixels[:, 10:] == 255).all()


def test_a_region_wholly_beyond_the_slide_is_white(lossless: Slide) -> None:
    assert (lossless.read(Region(1e7, -1e7, 64, 64), UM) == 255).all()


@pytest.mark.parametrize(
    ("um", "allowed"),
    [(0.0725, 2), (0.1, 2), (0.2, 2), (0.29, 0), (0.4, 0), (0.58, 0), (0.83, 0)],
)
def test_overlapping_regions_of_one_lattice_are_identical(
    lossless: Slide, um: float, allowed: int
) -> None:
    step = um / UM
    x, y = 17.3, 41.9
    whole = lossless.read(Region(x, y, 300 * step, 250 * step), um)
    part = lossless.read(Region(x + 113 * step, y + 57 * step, 120 * step, 110 * step), um)
    assert difference(part, whole[57:167, 113:233]) <= allowed


@pytest.mark.parametrize("um", [0.29, 0.58])
def test_a_large_region_equals_its_parts(lossless: Slide, um: float) -> None:
    step = um / UM
    size = int(1024 / step)
    whole = lossless.read(Region(0, 0, size * step, size * step), um)
    half = size // 2
    for row in (0, half):
        for column in (0, half):
            part = lossless.read(Region(column * step, row * step, half * step, half * step), um)
            assert difference(part, whole[row : row + half, column : column + half]) == 0


def test_levels_that_are_no_power_of_two_do_not_shift_pixels(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, downsamples=(1, 3, 7), compression="deflate")
    with open_slide(path, um_per_px=UM) as slide:
        pixels = slide.read(Region(21 * 20, 21 * 20, 21 * 20, 21 * 20), 7 * UM)
    assert [level.downsample for level in slide.info.levels] == [1, 3, 7]
    assert difference(pixels, shrink(PIXELS, 7)[60:120, 60:120]) == 0


def test_a_broken_tile_fails_its_region_and_no_other(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    overwrite(path, locate_tile(path, 6 + 2)[0], b"\x13" * 500)
    broken, sound = Region(512, 256, 100, 100), Region(256, 256, 256, 256)
    with open_slide(path, um_per_px=UM) as slide:
        for _ in range(2):
            with pytest.raises(RegionUnreadable, match=r"tile \(2, 1\) of level 0"):
                slide.read(broken, UM)
            assert slide.read(sound, UM).shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("region", "um"),
    [
        (Region(0, 0, 0, 10), UM),
        (Region(0, 0, 10, -1), UM),
        (Region(float("nan"), 0, 10, 10), UM),
        (Region(0, 0, 10, 10), 0),
        (Region(0, 0, 10, 10), float("inf")),
        (Region(0, 0, 1e9, 1e9), UM),
        (Region(0, 0, 1e9, 1e9), 1e6),
    ],
)
def test_a_request_without_sense_is_an_error_of_the_caller(
    lossless: Slide, region: Region, um: float
) -> None:
    with pytest.raises(ValueError, match=r"region|coarser"):
        lossless.read(region, um)


def test_a_closed_slide_cannot_be_read(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with open_slide(path, um_per_px=UM) as slide:
        slide.read(Region(0, 0, 10, 10), UM)
    with pytest.raises(ValueError, match="closed"):
        slide.read(Region(0, 0, 10, 10), UM)


def test_closing_twice_is_allowed(tmp_path: Path) -> None:
    slide = open_slide(write_pyramid(tmp_path / "s", PIXELS), um_per_px=UM)
    slide.close()
    slide.close()


def test_a_slide_is_refused_across_a_fork(lossless: Slide) -> None:
    child = os.fork()
    if child == 0:
        try:
            lossless.read(Region(0, 0, 10, 10), UM)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_slide_of_11_gigabytes_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "s"
    code = (
        "import sys, tifffile, zlib\n"
        "from pathlib import Path\n"
        "from tests.memory import peak_mib\n"
        "from worker.slide.opening import open_slide\n"
        "from worker.slide.geometry import Region\n"
        "path = Path(sys.argv[1])\n"
        "tile = zlib.compress(bytes(1024 * 1024 * 3), 1)\n"
        "tifffile.imwrite(path, (tile for _ in range(60 * 60)), shape=(61_440, 61_440, 3),"
        " dtype='u1', tile=(1024, 1024), compression='deflate', photometric='rgb', bigtiff=True)\n"
        "slide = open_slide(path, um_per_px=0.2)\n"
        "before = peak_mib()\n"
        "slide.read(Region(30_000, 20_000, 5000, 5000), 2.0)\n"
        "print(peak_mib() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 400
