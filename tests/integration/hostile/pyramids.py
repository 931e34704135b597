"""Levels that are missing, out of order, of odd scales, or of something else."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.integration.hostile.outcomes import (
    NO_MONOLAYER,
    NO_RESOLUTION,
    UNREADABLE,
    UNSUPPORTED,
    WHOLE,
    Cases,
)
from tests.integration.hostile.sound import (
    LONG,
    PER_CM,
    TILE_PX,
    Tags,
    encode_jpeg,
    pixels,
    shared_tile_tags,
    write_flat,
    write_raw,
)
from tests.slide_files import paint_smear, set_tag, shrink

BOMB_PX = 65_536
WHITE = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
Picture = NDArray[np.uint8]


def write_levels(path: Path, *levels: Picture, **options: Any) -> Path:
    """Images of a TIFF as they come; the first has the resolution."""
    options = {"compression": "jpeg", "photometric": "rgb", **options}
    with tifffile.TiffWriter(path) as tiff:
        for i, level in enumerate(levels):
            extra = PER_CM if i == 0 else {}
            tiff.write(level, tile=(TILE_PX, TILE_PX), metadata=None, **extra, **options)
    return path


def full_resolution_alone(path: Path) -> None:
    write_levels(path, pixels())


def first_smaller_level_missing(path: Path) -> None:
    write_levels(path, pixels(), shrink(pixels(), 4))


def levels_of_3_5_and_7_times(path: Path) -> None:
    write_levels(path, pixels(), *(shrink(pixels(), by) for by in (3, 5, 7)))


def levels_from_small_to_large(path: Path) -> None:
    small, middle = shrink(pixels(), 4), shrink(pixels(), 2)
    write_levels(path, pixels(), small, middle)


def every_level_twice(path: Path) -> None:
    middle = shrink(pixels(), 2)
    write_levels(path, pixels(), pixels(), middle, middle)


def largest_image_last(path: Path) -> None:
    """The resolution belongs to the first image, which is a smaller one."""
    write_levels(path, shrink(pixels(), 2), pixels())


def level_of_one_px(path: Path) -> None:
    write_levels(path, pixels(), shrink(pixels(), 2), WHITE[:1, :1])


def level_of_another_shape(path: Path) -> None:
    write_levels(path, pixels(), shrink(pixels(), 2), shrink(pixels(), 4)[:128])


def level_of_another_picture(path: Path) -> None:
    write_levels(path, pixels(), np.ascontiguousarray(shrink(pixels(), 2)[::-1]))


def coarse_level_of_another_picture(path: Path) -> None:
    write_levels(path, pixels(), shrink(pixels(), 2), paint_smear(256, 256))


def coarse_level_left_blank(path: Path) -> None:
    write_levels(path, pixels(), shrink(pixels(), 2), WHITE)


def full_resolution_left_blank(path: Path) -> None:
    write_levels(path, np.full_like(pixels(), 255), shrink(pixels(), 2))


def strips_alone(path: Path) -> None:
    write_flat(path, pixels(), rowsperstrip=16, compression="deflate", photometric="rgb")


def one_giant_strip(path: Path) -> None:
    write_flat(path, pixels(), rowsperstrip=1024, compression="deflate", photometric="rgb")


def no_rows_per_strip(path: Path) -> None:
    strips_alone(path)
    set_tag(path, 278, 0)


def strips_of_more_rows_than_the_image(path: Path) -> None:
    """2³² - 1 is the default of TIFF: one strip holds all."""
    tags = shared_tile_tags(1024, 1024, 7, 0)
    for code in (322, 323, 324, 325):
        del tags[code]
    strip = encode_jpeg(pixels())
    strips: Tags = {273: (LONG, [8]), 278: (LONG, [2**32 - 1]), 279: (LONG, [len(strip)])}
    write_raw(path, strip, [tags | strips])


def smaller_levels_in_strips(path: Path) -> None:
    """As thumbnails are stored: no levels."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels(), tile=(256, 256), photometric="rgb", metadata=None, **PER_CM)
        tiff.write(shrink(pixels(), 2), rowsperstrip=16, photometric="rgb", metadata=None)


def white_pyramid_of_four_gigapixels(path: Path) -> None:
    """Tiles of a few hundred bytes that all lie at one place."""
    tile = encode_jpeg(WHITE)
    sides = [BOMB_PX >> shift for shift in range(0, 8)]
    write_raw(path, tile, [shared_tile_tags(side, TILE_PX, 7, len(tile)) for side in sides])


def white_four_gigapixels_left_out_of_the_file(path: Path) -> None:
    sides = [BOMB_PX >> shift for shift in range(0, 8)]
    write_raw(path, b"", [shared_tile_tags(side, TILE_PX, 7, 0) for side in sides])


def four_gigapixels_in_one_strip(path: Path) -> None:
    write_strip_bomb(path, rows=BOMB_PX)


def four_gigapixels_in_wide_strips(path: Path) -> None:
    write_strip_bomb(path, rows=256)


def write_strip_bomb(path: Path, rows: int) -> None:
    packed = zlib.compress(bytes(BOMB_PX * min(rows, 256) * 3), 9)
    tags = shared_tile_tags(BOMB_PX, BOMB_PX, 8, 0)
    for code in (322, 323, 324, 325):
        del tags[code]
    strips = BOMB_PX // rows
    tables: Tags = {
        273: (LONG, [8] * strips),
        278: (LONG, [rows]),
        279: (LONG, [len(packed)] * strips),
    }
    write_raw(path, packed, [tags | tables])


CASES: Cases = {
    full_resolution_alone: WHOLE,
    first_smaller_level_missing: WHOLE,
    levels_of_3_5_and_7_times: WHOLE,
    levels_from_small_to_large: WHOLE,
    every_level_twice: WHOLE,
    largest_image_last: NO_RESOLUTION,
    level_of_one_px: WHOLE,
    level_of_another_shape: WHOLE,
    level_of_another_picture: UNREADABLE,
    coarse_level_of_another_picture: UNREADABLE,
    coarse_level_left_blank: UNREADABLE,
    full_resolution_left_blank: UNREADABLE,
    strips_alone: WHOLE,
    one_giant_strip: WHOLE,
    no_rows_per_strip: UNREADABLE,
    strips_of_more_rows_than_the_image: WHOLE,
    smaller_levels_in_strips: WHOLE,
    white_pyramid_of_four_gigapixels: NO_MONOLAYER,
    white_four_gigapixels_left_out_of_the_file: NO_MONOLAYER,
    four_gigapixels_in_one_strip: UNSUPPORTED,
    four_gigapixels_in_wide_strips: UNSUPPORTED,
}
