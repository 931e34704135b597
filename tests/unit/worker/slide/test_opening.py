import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.contract.failure import FailureCode, SlideError
from tests.slide_files import locate_tile, paint_smear, set_tag, shrink, write_pyramid
from worker.slide.geometry import Region, Size
from worker.slide.limits import MAX_SIDE_PX, MIN_SIDE_PX
from worker.slide.opening import open_slide

PIXELS = paint_smear(1100, 900)
APERIO = "Aperio Image Library v12.0\n1100x900 [0,0 1100x900] (256x256) JPEG/RGB Q=90|AppMag = 40"


def refuse(path: Path, **options: Any) -> SlideError:
    with pytest.raises(SlideError) as caught:
        open_slide(path, **options)
    assert str(path.parent) not in caught.value.message
    return caught.value


def save_picture(path: Path, kind: str) -> Path:
    Image.fromarray(PIXELS).save(path, kind)
    return path


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert refuse(tmp_path / "none.svs").code == FailureCode.SLIDE_UNREADABLE


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert refuse(tmp_path).code == FailureCode.SLIDE_UNREADABLE


def test_an_empty_file_is_no_slide(tmp_path: Path) -> None:
    path = tmp_path / "s.svs"
    path.touch()
    error = refuse(path)
    assert error.code == FailureCode.UNSUPPORTED_FORMAT and "0 bytes" in error.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PDF", "WEBP", "GIF", "JPEG2000"])
def test_a_picture_is_no_slide_whatever_its_extension(tmp_path: Path, kind: str) -> None:
    error = refuse(save_picture(tmp_path / "s.svs", kind))
    assert error.code == FailureCode.UNSUPPORTED_FORMAT
    assert kind.replace("2000", " 2000").replace("WEBP", "WebP") in error.message


@pytest.mark.parametrize("content", [b"slide,label\n1,2\n", b"\0" * 4096, bytes(range(256)) * 9])
def test_other_files_are_no_slide(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.tif"
    path.write_bytes(content)
    assert refuse(path).code == FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "name",
    [
        "no-extension",
        "scan.png",
        "scan.ndpi",
        "scan.mrxs",
        "scan.dcm",
        "Größe µm 患者 😐.svs",
        "a b'%s.tif",
    ],
)
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    with open_slide(write_pyramid(tmp_path / name, PIXELS), um_per_px=0.2) as slide:
        assert slide.info.size == Size(1100, 900)


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.02, 0.1, 0.3, 0.6, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "deflate"}])
def test_a_truncated_slide_is_unreadable_not_without_resolution(
    tmp_path: Path, share: float, options: dict[str, Any]
) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, **options)
    data = path.read_bytes()
    path.write_bytes(data[: max(8, int(len(data) * share))])
    assert refuse(path).code == FailureCode.SLIDE_UNREADABLE


def test_a_slide_whose_last_byte_is_missing_is_unreadable(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    end = max(sum(locate_tile(path, i, page=2)) for i in range(2))
    path.write_bytes(path.read_bytes()[: end - 1])
    assert refuse(path).code == FailureCode.SLIDE_UNREADABLE


def test_a_slide_without_resolution_asks_for_it(tmp_path: Path) -> None:
    error = refuse(write_pyramid(tmp_path / "s", PIXELS))
    assert error.code == FailureCode.RESOLUTION_MISSING and "um_per_px" in error.message


@pytest.mark.parametrize(
    ("tags", "um"),
    [
        ({"resolution": (50_000, 50_000), "resolutionunit": "CENTIMETER"}, 0.2),
        ({"resolution": (127_000, 127_000), "resolutionunit": "INCH"}, 0.2),
    ],
)
def test_tiff_resolution_tags_are_read_in_their_unit(
    tmp_path: Path, tags: dict[str, Any], um: float
) -> None:
    with open_slide(write_pyramid(tmp_path / "s", PIXELS, first=tags)) as slide:
        assert slide.info.um_per_px == pytest.approx(um)
        assert slide.info.um_per_px_source == "tiff:XResolution"


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_dots_per_inch_are_no_resolution(tmp_path: Path, dpi: int) -> None:
    tags = {"resolution": (dpi, dpi), "resolutionunit": "INCH"}
    path = write_pyramid(tmp_path / "s", PIXELS, first=tags)
    assert refuse(path).code == FailureCode.RESOLUTION_MISSING


def test_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    tags = {"resolution": (50_000, 40_000), "resolutionunit": "CENTIMETER"}
    path = write_pyramid(tmp_path / "s", PIXELS, first=tags)
    assert refuse(path).code == FailureCode.RESOLUTION_UNSUPPORTED


def test_an_aperio_slide_names_its_scale_and_format(tmp_path: Path) -> None:
    first = {"description": f"{APERIO}|MPP = 0.2480|Left = 25"}
    with open_slide(write_pyramid(tmp_path / "s", PIXELS, first=first)) as slide:
        info = slide.info
    assert (info.format, info.um_per_px, info.um_per_px_source) == ("aperio", 0.248, "aperio.MPP")


def test_an_objective_power_is_never_a_resolution(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, first={"description": APERIO})
    assert refuse(path).code == FailureCode.RESOLUTION_MISSING


def test_an_ome_tiff_with_sub_directories_has_all_levels_and_its_scale(tmp_path: Path) -> None:
    metadata = {
        "axes": "YXS",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm",
    }
    path = write_pyramid(tmp_path / "s", PIXELS, sub_ifds=True, ome=True, metadata=metadata)
    with open_slide(path) as slide:
        info = slide.info
    assert info.format == "ome-tiff"
    assert (info.um_per_px, info.um_per_px_source) == (0.2, "ome:PhysicalSizeX")
    assert [level.downsample for level in info.levels] == [1, 2, 4]


def test_a_request_is_named_as_the_source(tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "s", PIXELS), um_per_px=0.2) as slide:
        assert (slide.info.um_per_px, slide.info.um_per_px_source) == (0.2, "request")


def test_a_scan_coarser_than_the_classifier_needs_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    error = refuse(path, um_per_px=0.26, max_um_per_px=0.25)
    assert error.code == FailureCode.RESOLUTION_UNSUPPORTED


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with open_slide(path, um_per_px=0.2) as slide:
        assert slide.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_hash_that_is_known_is_taken_over_and_the_file_not_read_through(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with open_slide(path, um_per_px=0.2, sha256="f" * 64) as slide:
        assert slide.info.sha256 == "f" * 64


def test_an_icc_profile_is_noted(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, first={"iccprofile": b"\0" * 128})
    with open_slide(path, um_per_px=0.2) as slide:
        assert slide.info.icc_profile


@pytest.mark.parametrize("side", [1, 100, MIN_SIDE_PX - 1])
def test_an_image_too_small_for_a_slide_is_refused(tmp_path: Path, side: int) -> None:
    path = tmp_path / "s.svs"
    tifffile.imwrite(path, PIXELS[:side, :side], tile=(256, 256), photometric="rgb")
    assert refuse(path, um_per_px=0.2).code == FailureCode.UNSUPPORTED_FORMAT


def test_the_smallest_slide_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    tifffile.imwrite(path, PIXELS[:MIN_SIDE_PX, :MIN_SIDE_PX], tile=(256, 256), photometric="rgb")
    open_slide(path, um_per_px=0.2).close()


def test_a_header_that_claims_more_than_a_glass_slide_is_too_large(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS, bigtiff=True)
    set_tag(path, 256, MAX_SIDE_PX + 1)
    assert refuse(path, um_per_px=0.2).code == FailureCode.SLIDE_TOO_LARGE


def test_a_header_that_claims_more_tiles_than_are_listed_is_damaged(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    set_tag(path, 256, MAX_SIDE_PX)
    set_tag(path, 257, 400_000)
    error = refuse(path, um_per_px=0.2)
    assert error.code == FailureCode.SLIDE_UNREADABLE and "tiles" in error.message


def test_a_tile_of_absurd_size_is_damaged(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    set_tag(path, 322, 65_536)
    set_tag(path, 323, 65_536)
    assert refuse(path, um_per_px=0.2).code == FailureCode.SLIDE_UNREADABLE


def write_flat(path: Path, pixels: Any, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path


@pytest.mark.parametrize(
    ("pixels", "options", "word"),
    [
        (PIXELS.astype(np.uint16) * 257, {"photometric": "rgb"}, "16 bits"),
        (PIXELS[..., 0], {"photometric": "minisblack"}, "greyscale"),
        (np.dstack([PIXELS, PIXELS[..., :1]]), {"photometric": "separated"}, "CMYK"),
        (PIXELS.astype(np.float32), {"photometric": "rgb"}, "32 bits"),
    ],
)
def test_pixels_that_are_not_8_bit_colour_are_refused(
    tmp_path: Path, pixels: Any, options: dict[str, Any], word: str
) -> None:
    path = write_flat(tmp_path / "s", pixels, tile=(256, 256), **options)
    error = refuse(path, um_per_px=0.2)
    assert error.code == FailureCode.UNSUPPORTED_FORMAT and word in error.message


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "deflate"},
        {"compression": "lzw"},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": None},
        {"compression": "deflate", "predictor": True},
        {"compression": "jpeg2000", "compressionargs": {"level": 0}},
        {"compression": "deflate", "tile_px": 240},
        {"compression": "deflate", "bigtiff": True},
    ],
)
def test_lossless_tiles_come_back_exactly(tmp_path: Path, options: dict[str, Any]) -> None:
    with open_slide(write_pyramid(tmp_path / "s", PIXELS, **options), um_per_px=0.2) as slide:
        assert (slide.read(Region(0, 0, 1100, 900), 0.2) == PIXELS).all()
        assert (slide.read(Region(0, 0, 1100, 900), 0.8) == shrink(PIXELS, 4)).all()


def test_strips_are_read_like_tiles(tmp_path: Path) -> None:
    path = write_flat(tmp_path / "s", PIXELS, rowsperstrip=64, compression="deflate")
    with open_slide(path, um_per_px=0.2) as slide:
        assert (slide.read(Region(100, 800, 300, 100), 0.2) == PIXELS[800:900, 100:400]).all()


def test_a_large_image_in_a_single_strip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    tifffile.imwrite(
        path, shape=(4097, 4096, 3), dtype="u1", photometric="rgb", rowsperstrip=4097,
        compression="deflate", data=iter([np.zeros((4097, 4096, 3), np.uint8)]),
    )  # fmt: skip
    error = refuse(path, um_per_px=0.2)
    assert error.code == FailureCode.UNSUPPORTED_FORMAT and "strips of" in error.message


def test_an_image_with_alpha_is_read_by_openslide(tmp_path: Path) -> None:
    alpha = np.full((900, 1100, 1), 255, np.uint8)
    path = write_flat(
        tmp_path / "s", np.dstack([PIXELS, alpha]), tile=(256, 256), photometric="rgb",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    with open_slide(path, um_per_px=0.2) as slide:
        assert slide.info.reader.startswith("openslide ")
        assert (slide.read(Region(200, 200, 300, 300), 0.2) == PIXELS[200:500, 200:500]).all()


def test_a_compression_no_reader_knows_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS[:300, :300], compression="webp")
    assert refuse(path, um_per_px=0.2).code == FailureCode.UNSUPPORTED_FORMAT


def test_a_label_of_another_shape_is_no_level(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    tifffile.imwrite(path, PIXELS[:400, :300], append=True, tile=(256, 256), photometric="rgb")
    with open_slide(path, um_per_px=0.2) as slide:
        assert len(slide.info.levels) == 3


def test_tiles_left_out_of_the_file_are_white(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    set_tag(path, 324, 0, item=6)
    set_tag(path, 325, 0, item=6)
    with open_slide(path, um_per_px=0.2) as slide:
        assert (slide.read(Region(256, 256, 256, 256), 0.2) == 255).all()


def test_opening_is_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_slide(write_pyramid(tmp_path / "s", PIXELS), um_per_px=0.2).close()
    assert not caplog.records


def test_a_stitched_smear_is_read_at_its_scale(tmp_path: Path, real_data: Path) -> None:
    with Image.open(real_data / "mosaics" / "p08_27387745_001.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    with open_slide(write_pyramid(tmp_path / "s", pixels), um_per_px=0.2) as slide:
        patch = slide.read(Region(1000, 1000, 145, 145), 0.0725)
        overview = slide.read(Region(0, 0, slide.info.size.width, slide.info.size.height), 0.8)
    assert patch.shape == (400, 400, 3)
    expected = shrink(pixels, 4).astype(int)
    shape = np.minimum(expected.shape, overview.shape)
    crop = tuple(slice(0, n) for n in shape)
    assert np.abs(overview[crop].astype(int) - expected[crop]).mean() < 6
