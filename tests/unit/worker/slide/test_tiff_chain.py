import struct
from pathlib import Path

import pytest
import tifffile

from service.contract.failure import FailureCode, SlideError
from tests.slide_files import overwrite, paint_smear, write_pyramid
from worker.slide.tiff_chain import MAX_DIRECTORIES, check_directories

PIXELS = paint_smear(700, 600)


def refuse(path: Path) -> SlideError:
    with pytest.raises(SlideError) as caught:
        check_directories(path)
    return caught.value


def link_offset(path: Path, page: int) -> int:
    """Where a classic TIFF's directory keeps the offset of the next one."""
    with tifffile.TiffFile(path) as tiff:
        directory = tiff.pages[page]
        return int(directory.offset) + 2 + 12 * len(directory.tags)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"sub_ifds": True}])
def test_a_sound_pyramid_passes(tmp_path: Path, options: dict[str, bool]) -> None:
    check_directories(write_pyramid(tmp_path / "s", PIXELS, **options))


def test_a_big_endian_tiff_passes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    tifffile.imwrite(path, PIXELS, tile=(256, 256), byteorder=">")
    check_directories(path)


def test_a_chain_that_leaves_the_file_is_unreadable(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    overwrite(path, link_offset(path, 1), (2**31).to_bytes(4, "little"))
    assert refuse(path).code == FailureCode.SLIDE_UNREADABLE


def test_a_chain_that_loops_is_unreadable(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with tifffile.TiffFile(path) as tiff:
        first = int(tiff.pages[0].offset)
    overwrite(path, link_offset(path, 2), first.to_bytes(4, "little"))
    assert "circle" in refuse(path).message


def test_a_tag_that_claims_gigabytes_is_unreadable(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with tifffile.TiffFile(path) as tiff:
        count_at = int(tiff.pages[0].tags[324].offset) + 4
    overwrite(path, count_at, (2**31).to_bytes(4, "little"))
    assert "tag 324 claims" in refuse(path).message


def test_a_tile_table_beyond_the_end_is_unreadable(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s", PIXELS)
    with tifffile.TiffFile(path) as tiff:
        value_at = int(tiff.pages[0].tags[324].offset) + 8
    overwrite(path, value_at, (2**30).to_bytes(4, "little"))
    assert "tag 324" in refuse(path).message


def write_ndpi(path: Path, second: int, next_link: int) -> Path:
    """Two directories of one tag each, with NDPI's links of 8 bytes; `second` may be past 4 GiB."""
    entry = struct.pack("<HHII", 65420, 4, 1, 1)
    with path.open("wb") as stream:
        stream.write(b"II*\0" + struct.pack("<Q", 16) + bytes(4))
        stream.write(struct.pack("<H", 1) + entry + struct.pack("<Q", second))
        stream.seek(second)
        stream.write(struct.pack("<H", 1) + entry + struct.pack("<Q", next_link))
    return path


def test_an_ndpi_directory_beyond_4_gib_is_found(tmp_path: Path) -> None:
    check_directories(write_ndpi(tmp_path / "s", 2**32 + 1000, 0))


def test_an_ndpi_chain_that_leaves_the_file_is_unreadable(tmp_path: Path) -> None:
    error = refuse(write_ndpi(tmp_path / "s", 2**32 + 1000, 2**33))
    assert error.code == FailureCode.SLIDE_UNREADABLE


def test_a_header_alone_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"II*\0")
    assert refuse(path).code == FailureCode.SLIDE_UNREADABLE


def stack(path: Path, count: int) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(count):
            tiff.write(PIXELS[:16, :16], metadata=None)
    return path


def test_as_many_images_as_allowed_pass(tmp_path: Path) -> None:
    check_directories(stack(tmp_path / "s", MAX_DIRECTORIES))


def test_one_image_more_than_allowed_is_no_slide(tmp_path: Path) -> None:
    error = refuse(stack(tmp_path / "s", MAX_DIRECTORIES + 1))
    assert error.code == FailureCode.UNSUPPORTED_FORMAT
