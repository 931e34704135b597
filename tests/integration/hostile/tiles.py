"""Tiles that are not what the directory says."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from tests.integration.hostile.outcomes import (
    HOLES,
    TOO_MANY_HOLES,
    UNREADABLE,
    WHOLE,
    Cases,
)
from tests.integration.hostile.sound import (
    CELL_TILE,
    DETECTION,
    FULL,
    TILE_PX,
    encode_jpeg,
    noise,
    pixels,
    point_tile,
    read_tile_bytes,
    replace_tile,
    tiles_of,
    write_sound,
)
from tests.slide_files import locate_tile

GREY = np.full((TILE_PX, TILE_PX, 3), 200, np.uint8)
SOF0 = b"\xff\xc0\0\x11\x08"
"""Start of a baseline frame of three components and 8 bits: T.81, B.2.2."""


def truncated_tile(path: Path) -> None:
    offset, size = locate_tile(path, CELL_TILE[FULL])
    point_tile(path, offset, size // 2)


def truncated_tile_where_cells_are_found(path: Path) -> None:
    offset, size = locate_tile(path, CELL_TILE[DETECTION], DETECTION)
    point_tile(path, offset, size // 2, DETECTION)


def tile_across_the_end_of_the_file(path: Path) -> None:
    point_tile(path, path.stat().st_size - 10, 5000)


def tile_past_the_end_of_the_file(path: Path) -> None:
    point_tile(path, 2**32 - 10, 5000)


def tile_left_out(path: Path) -> None:
    """Byte count 0 is how writers leave out white glass: not damage."""
    point_tile(path, 0, 0)


def tile_of_one_byte(path: Path) -> None:
    offset, _ = locate_tile(path, CELL_TILE[FULL])
    point_tile(path, offset, 1)


def tile_in_the_header(path: Path) -> None:
    point_tile(path, 0, 100)


def overlapping_tiles(path: Path) -> None:
    offset, size = locate_tile(path, CELL_TILE[FULL] - 1)
    point_tile(path, offset + size // 2, size)


def random_bytes_in_a_tile(path: Path) -> None:
    replace_tile(path, noise(5000))


def random_bytes_where_cells_are_found(path: Path) -> None:
    replace_tile(path, noise(5000), DETECTION)


def random_bytes_in_half_the_tiles(path: Path) -> None:
    for page in (FULL, DETECTION):
        for index in tiles_of(path, page)[::2]:
            replace_tile(path, noise(2000), page, index)


def random_bytes_in_all_tiles_of_full_resolution(path: Path) -> None:
    for index in tiles_of(path, FULL):
        replace_tile(path, noise(2000), FULL, index)


def random_bytes_in_every_tile(path: Path) -> None:
    for page in range(3):
        for index in tiles_of(path, page):
            replace_tile(path, noise(2000), page, index)


def picture_of_another_kind_in_a_tile(path: Path) -> None:
    replace_tile(path, bytes(imagecodecs.png_encode(GREY)))


def jpeg_larger_than_its_tile(path: Path) -> None:
    replace_tile(path, encode_jpeg(np.tile(GREY, (2, 2, 1))))


def jpeg_smaller_than_its_tile(path: Path) -> None:
    replace_tile(path, encode_jpeg(GREY[:128, :128].copy()))


def resize_frame(path: Path, height: int, width: int) -> None:
    data = read_tile_bytes(path)
    at = data.index(SOF0) + len(SOF0)
    replace_tile(path, data[:at] + struct.pack(">HH", height, width) + data[at + 4 :])


def jpeg_that_claims_60000_px(path: Path) -> None:
    resize_frame(path, 60_000, 60_000)


def jpeg_of_no_height(path: Path) -> None:
    """Legal: the height may follow the first scan (T.81, DNL). No scanner does it."""
    resize_frame(path, 0, TILE_PX)


def jpeg_of_one_component(path: Path) -> None:
    replace_tile(path, encode_jpeg(GREY[..., 0].copy()))


def jpeg_of_two_components(path: Path) -> None:
    replace_tile(path, encode_jpeg(GREY[..., :2].copy()))


def jpeg_of_four_components(path: Path) -> None:
    replace_tile(path, encode_jpeg(np.dstack([GREY, GREY[..., :1]])))


def change_frame_marker(path: Path, marker: bytes, bits: int = 8) -> None:
    data = read_tile_bytes(path)
    replace_tile(path, data.replace(SOF0, b"\xff" + marker + b"\0\x11" + bytes([bits])))


def arithmetic_coding_of_huffman_data(path: Path) -> None:
    change_frame_marker(path, b"\xc9")


def lossless_jpeg_by_its_marker(path: Path) -> None:
    change_frame_marker(path, b"\xc3")


def jpeg_of_12_bits(path: Path) -> None:
    change_frame_marker(path, b"\xc1", bits=12)


def encode_progressive() -> bytes:
    left, top = (TILE_PX * part for part in (CELL_TILE[FULL] % 4, CELL_TILE[FULL] // 4))
    stream = BytesIO()
    tile = Image.fromarray(pixels()[top : top + TILE_PX, left : left + TILE_PX])
    tile.save(stream, "JPEG", quality=90, progressive=True, keep_rgb=True)
    return stream.getvalue()


def progressive_jpeg(path: Path) -> None:
    """Allowed, if unusual."""
    replace_tile(path, encode_progressive())


def jpeg_of_ten_thousand_scans(path: Path) -> None:
    """Each scan of a progressive JPEG costs a pass over its picture and a few bytes of file."""
    data = encode_progressive()
    last = data.rindex(b"\xff\xda")
    replace_tile(path, data[:last] + 10_000 * data[last:-2] + data[last:])


def deflate_tile_that_inflates_to_a_gigabyte(path: Path) -> None:
    """After a full flush a stream starts anew, so its bytes may be repeated."""
    write_sound(path, compression="deflate")
    packer = zlib.compressobj(9)
    head = packer.flush(zlib.Z_FULL_FLUSH)
    body = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    replace_tile(path, head + 64 * body)


def deflate_tile_of_noise(path: Path) -> None:
    write_sound(path, compression="deflate")
    replace_tile(path, noise(5000))


def deflate_tile_that_is_too_short(path: Path) -> None:
    write_sound(path, compression="deflate")
    replace_tile(path, zlib.compress(bytes(1000)))


def lzw_tile_of_noise(path: Path) -> None:
    write_sound(path, compression="lzw")
    replace_tile(path, noise(5000))


def plain_tile_that_is_too_short(path: Path) -> None:
    write_sound(path, compression=None)
    offset, size = locate_tile(path, CELL_TILE[FULL])
    point_tile(path, offset, size - 1)


def jpeg2000_tile_with_a_broken_header(path: Path) -> None:
    """Noise in its coded data would be decoded: see `worker.slide.codestream`."""
    write_sound(path, compression="jpeg2000")
    data = read_tile_bytes(path)
    siz_end = data.index(b"\xff\x52")
    replace_tile(path, data[: siz_end + 4] + noise(60) + data[siz_end + 64 :])


CASES: Cases = {
    truncated_tile: HOLES,
    truncated_tile_where_cells_are_found: HOLES,
    tile_across_the_end_of_the_file: UNREADABLE,
    tile_past_the_end_of_the_file: UNREADABLE,
    tile_left_out: WHOLE,
    tile_of_one_byte: HOLES,
    tile_in_the_header: HOLES,
    overlapping_tiles: HOLES,
    random_bytes_in_a_tile: HOLES,
    random_bytes_where_cells_are_found: HOLES,
    random_bytes_in_half_the_tiles: TOO_MANY_HOLES,
    random_bytes_in_all_tiles_of_full_resolution: TOO_MANY_HOLES,
    random_bytes_in_every_tile: UNREADABLE,
    picture_of_another_kind_in_a_tile: HOLES,
    jpeg_larger_than_its_tile: HOLES,
    jpeg_smaller_than_its_tile: HOLES,
    jpeg_that_claims_60000_px: HOLES,
    jpeg_of_no_height: HOLES,
    jpeg_of_one_component: HOLES,
    jpeg_of_two_components: HOLES,
    jpeg_of_four_components: HOLES,
    arithmetic_coding_of_huffman_data: HOLES,
    lossless_jpeg_by_its_marker: HOLES,
    jpeg_of_12_bits: HOLES,
    progressive_jpeg: WHOLE,
    jpeg_of_ten_thousand_scans: HOLES,
    deflate_tile_that_inflates_to_a_gigabyte: HOLES,
    deflate_tile_of_noise: HOLES,
    deflate_tile_that_is_too_short: HOLES,
    lzw_tile_of_noise: HOLES,
    plain_tile_that_is_too_short: HOLES,
    jpeg2000_tile_with_a_broken_header: HOLES,
}
