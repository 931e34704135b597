"""Many regions of a slide, read by a plan and by threads."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable
from tests.slide_files import locate_tile, overwrite, paint_smear, write_abbreviated, write_pyramid
from worker.slide.geometry import Region, Size
from worker.slide.opening import open_slide
from worker.slide.protocol import Level, SlideInfo
from worker.slide.pyramid import TiledLevel
from worker.slide.tiled_slide import AHEAD_BYTES, CACHE_BYTES, TiledSlide

PIXELS = paint_smear(1301, 1103)
UM = 0.2


class Tiles:
    """A slide of `side` × `side` px in tiles of 256 px that counts what is decoded."""

    def __init__(self, side: int) -> None:
        self.levels = (TiledLevel(Size(side, side), 1.0, Size(256, 256)),)
        self.decoded = Counter[tuple[int, int]]()
        self._lock = Lock()

    def read_tile(
        self, level: int, column: int, row: int, rows: int | None = None
    ) -> NDArray[np.uint8]:
        with self._lock:
            self.decoded[column, row] += 1
        return np.full((256, 256, 3), (column + row) % 251, np.uint8)

    def close(self) -> None:
        pass

    def open(self, **options: int) -> TiledSlide:
        size = self.levels[0].size
        levels = (Level(size, 1.0),)
        info = SlideInfo("counted", "none", size, UM, "request", levels, "0" * 64, False)
        return TiledSlide(info, self, **options)


def scatter(count: int, side: int, edge: int = 200) -> list[Region]:
    rng = np.random.default_rng(0)
    return [Region(x, y, edge, edge) for x, y in rng.integers(0, side - edge, (count, 2)).tolist()]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("um", [0.1, UM, 0.29, 0.8])
def test_every_region_comes_once_with_the_pixels_of_a_single_read(
    tmp_path: Path, um: float, threads: int
) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    regions = [*scatter(40, 1000), Region(-50, 900, 300, 300), Region(0, 0, 1301, 1103)]
    with open_slide(path, um_per_px=UM, threads=threads) as slide:
        found = dict(slide.read_each(regions, um))
        assert sorted(found) == list(range(len(regions)))
        for index, pixels in found.items():
            assert not isinstance(pixels, RegionUnreadable)
            assert (pixels == slide.read(regions[index], um)).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_each_tile_is_decoded_once(threads: int) -> None:
    tiles = Tiles(60 * 256)
    with tiles.open(threads=threads) as slide:
        for _ in slide.read_each(scatter(3000, 60 * 256), UM):
            pass
    assert set(tiles.decoded.values()) == {1}


def test_a_small_cache_costs_time_and_not_pixels() -> None:
    tiles = Tiles(20 * 256)
    regions = scatter(500, 20 * 256)
    with tiles.open(threads=2) as wide, tiles.open(threads=2, cache_bytes=1) as narrow:
        wanted, found = (dict(slide.read_each(regions, UM)) for slide in (wide, narrow))
    assert max(tiles.decoded.values()) > 2
    assert all((np.asarray(wanted[i]) == np.asarray(found[i])).all() for i in range(500))


def test_a_broken_tile_costs_the_regions_on_it_and_no_other(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    overwrite(path, locate_tile(path, 6 + 2)[0], b"\x13" * 500)
    regions = [Region(512, 256, 99, 99), Region(256, 256, 200, 200), Region(600, 300, 99, 99)]
    with open_slide(path, um_per_px=UM, threads=2) as slide:
        found = dict(slide.read_each(regions, UM))
    assert [isinstance(found[i], RegionUnreadable) for i in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": (2, 2)},
        {"subsampling": (2, 1)},
        {"subsampling": (1, 1)},
        {"compressionargs": {"level": 90, "outcolorspace": "rgb"}},
        {"compression": "deflate"},
        {"tables": True},
    ],
    ids=str,
)
def test_small_regions_have_the_pixels_of_the_whole_slide(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path, pixels = tmp_path / "s", PIXELS
    if options.pop("tables", False):
        pixels = PIXELS[:1024, :1280]
        write_abbreviated(path, pixels)
    else:
        write_pyramid(path, pixels, **options)
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(1)
    regions = [
        Region(rng.integers(0, width - 90), rng.integers(0, height - edge), 90, edge)
        for edge in rng.integers(1, 90, 120).tolist()
    ]
    with open_slide(path, um_per_px=UM, threads=2) as slide:
        whole = slide.read(Region(0, 0, width, height), UM)
    with open_slide(path, um_per_px=UM, threads=2) as slide:
        for index, found in slide.read_each(regions, UM):
            region = regions[index]
            x, y, edge = int(region.x), int(region.y), int(region.height)
            assert (np.asarray(found) == whole[y : y + edge, x : x + 90]).all()


def test_damage_below_a_region_fails_it_alone_or_beside_others(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    offset, size = locate_tile(path, 6 + 2)
    overwrite(path, offset + size // 2, bytes(size // 4))
    high, low = Region(520, 260, 99, 40), Region(520, 460, 99, 40)
    with open_slide(path, um_per_px=UM) as slide:
        for regions in ([high], [low], [high, low]):
            for _, found in slide.read_each(regions, UM):
                assert isinstance(found, RegionUnreadable)


def test_pixels_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    regions = scatter(60, 1000, edge=120)
    with open_slide(path, um_per_px=UM, threads=2) as slide:
        for um in (UM, 0.15, 0.33):
            side = regions[0].output_size(UM, um).width
            room = np.zeros((60, side, side, 3), np.uint8)
            asked: list[int] = []

            def place(index: int, room: Any = room, asked: Any = asked) -> NDArray[np.uint8]:
                asked.append(index)
                return np.asarray(room[index])

            came = [index for index, _ in slide.read_each(regions, um, place)]
            assert asked == came
            for index, region in enumerate(regions):
                assert (room[index] == slide.read(region, um)).all()


def test_reading_stays_a_bounded_number_of_results_ahead() -> None:
    tiles = Tiles(400 * 256)
    regions = [Region(x * 256, 0, 256, 256) for x in range(400)]
    ahead = AHEAD_BYTES // (3 * 256 * 256)
    with tiles.open(threads=2) as slide:
        read = slide.read_each(regions, UM)
        for _ in range(3):
            next(read)
        read.close()
    assert 3 <= len(tiles.decoded) <= ahead + 3


def test_closing_a_slide_ends_a_reading_that_was_left(tmp_path: Path) -> None:
    slide = open_slide(write_pyramid(tmp_path / "s", PIXELS), um_per_px=UM, threads=2)
    read = slide.read_each(scatter(200, 1000), UM)
    next(read)
    slide.close()
    with pytest.raises((RuntimeError, CancelledError)):
        for _ in range(300):
            next(read)


def test_no_region_is_nothing_to_read() -> None:
    with Tiles(512).open() as slide:
        assert list(slide.read_each([], UM)) == []


def test_senseless_regions_are_refused_before_anything_is_read() -> None:
    tiles = Tiles(512)
    with tiles.open() as slide, pytest.raises(ValueError, match="region"):
        slide.read_each([Region(0, 0, 10, 10), Region(0, 0, -1, 10)], UM)
    assert not tiles.decoded


def test_memory_is_bounded_whatever_the_slides_size() -> None:
    code = (
        "from tests.memory import peak_mib\n"
        "from tests.unit.worker.slide.test_read_each import Tiles, scatter\n"
        "def scan(side, count):\n"
        "    with Tiles(side).open(threads=2) as slide:\n"
        "        for _ in slide.read_each(scatter(count, side, 400), 0.2): pass\n"
        "scan(20 * 256, 400)\n"
        "small = peak_mib()\n"
        "scan(600 * 256, 20_000)\n"  # 24 Gpx
        "print(peak_mib() - small)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) << 20 < CACHE_BYTES + AHEAD_BYTES + (64 << 20)
