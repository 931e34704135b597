import tracemalloc
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from PIL import Image

from worker.demo.pyramid import (
    BIGTIFF_FROM_PX,
    _needs_bigtiff,
    write_image_pyramid,
    write_pyramid,
)
from worker.slide.geometry import Size


def smooth_image(width: int, height: int) -> np.ndarray:
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    red = 128 + 100 * np.sin(x / 160) * np.cos(y / 240)
    green = 128 + 100 * np.cos(x / 280) + 0 * y
    blue = 128 + 100 * np.sin(y / 200) + 0 * x
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def openslide_level(slide: openslide.OpenSlide, level: int) -> np.ndarray:
    region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(region.convert("RGB")).astype(int)


def test_openslide_reads_back_pixels_scale_and_halved_levels(tmp_path: Path) -> None:
    image = smooth_image(2500, 1301)
    sizes = write_image_pyramid(tmp_path / "a.tiff", image, um_per_px=0.25)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        assert slide.level_dimensions == ((2500, 1301), (1250, 651), (625, 326))
        assert [(s.width, s.height) for s in sizes] == list(slide.level_dimensions)
        assert np.abs(openslide_level(slide, 0) - image).mean() < 2


def test_tiffslide_sees_the_same_levels_and_scale(tmp_path: Path) -> None:
    write_image_pyramid(tmp_path / "a.tiff", smooth_image(2500, 1301), um_per_px=0.25)
    with tiffslide.TiffSlide(tmp_path / "a.tiff") as slide:
        assert slide.level_dimensions == ((2500, 1301), (1250, 651), (625, 326))
        assert slide.properties["tiffslide.mpp-x"] == pytest.approx(0.25)


def test_levels_of_the_second_pass_are_area_means_of_the_first(tmp_path: Path) -> None:
    image = smooth_image(8200, 600)
    write_image_pyramid(tmp_path / "a.tiff", image, um_per_px=0.25, tile_px=256)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert slide.level_count == 5
        reduced = Image.fromarray(image)
        for level in range(1, 5):
            reduced = reduced.reduce(2)
            assert np.abs(openslide_level(slide, level) - np.asarray(reduced)).mean() < 2, level


def test_a_slide_without_scale_states_none(tmp_path: Path) -> None:
    write_image_pyramid(tmp_path / "a.tiff", smooth_image(600, 400), um_per_px=None)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert "openslide.mpp-x" not in slide.properties


def test_an_image_smaller_than_a_tile_is_one_level(tmp_path: Path) -> None:
    image = smooth_image(37, 21)
    assert write_image_pyramid(tmp_path / "a.tiff", image, um_per_px=0.5) == (Size(37, 21),)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert np.abs(openslide_level(slide, 0) - image).mean() < 4


@pytest.mark.parametrize(("width", "levels"), [(1023, 1), (1024, 2)])
def test_the_pyramid_ends_below_1024_px(tmp_path: Path, width: int, levels: int) -> None:
    sizes = write_image_pyramid(tmp_path / "a.tiff", smooth_image(width, 64), um_per_px=0.5)
    assert len(sizes) == levels


def test_only_reduced_levels_are_marked_as_such(tmp_path: Path) -> None:
    write_image_pyramid(tmp_path / "a.tiff", smooth_image(2500, 600), um_per_px=0.5)
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1]
        assert all(page.is_tiled for page in tiff.pages)


def test_tiles_of_a_multiple_of_16_are_written(tmp_path: Path) -> None:
    write_image_pyramid(tmp_path / "a.tiff", smooth_image(300, 200), um_per_px=0.5, tile_px=16)
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert tiff.pages[0].tile == (16, 16)


@pytest.mark.parametrize("tile_px", [0, 17, -16])
def test_other_tiles_are_refused(tmp_path: Path, tile_px: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        write_image_pyramid(
            tmp_path / "a.tiff", smooth_image(300, 200), um_per_px=0.5, tile_px=tile_px
        )


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pixels"):
        write_image_pyramid(tmp_path / "a.tiff", np.empty((0, 9, 3), np.uint8), um_per_px=1.0)


def test_a_grey_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_image_pyramid(tmp_path / "a.tiff", np.zeros((9, 9), np.uint8), um_per_px=1.0)


def test_bigtiff_begins_where_classic_tiff_may_not_suffice() -> None:
    assert not _needs_bigtiff(Size(BIGTIFF_FROM_PX - 1, 1))
    assert _needs_bigtiff(Size(BIGTIFF_FROM_PX, 1))


def test_a_failing_source_leaves_no_file_behind(tmp_path: Path) -> None:
    def source(x: int, y: int, width: int, height: int) -> np.ndarray:
        if x > 0:
            raise OSError("the camera is gone")
        return np.zeros((height, width, 3), np.uint8)

    with pytest.raises(OSError, match="camera"):
        write_pyramid(tmp_path / "a.tiff", source, Size(9000, 300), 0.25)
    assert list(tmp_path.iterdir()) == []


def test_a_slide_many_times_larger_than_memory_use_is_streamed(tmp_path: Path) -> None:
    size = Size(16_384, 12_288)
    tracemalloc.start()
    write_pyramid(
        tmp_path / "a.tiff",
        lambda x, y, width, height: np.full((height, width, 3), 200, np.uint8),
        size,
        0.25,
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size.width * size.height * 3 / 4


def test_progress_ends_with_all_pixels(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_pyramid(
        tmp_path / "a.tiff",
        lambda x, y, width, height: np.zeros((height, width, 3), np.uint8),
        Size(5000, 2500),
        0.25,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (12_500_000, 12_500_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
