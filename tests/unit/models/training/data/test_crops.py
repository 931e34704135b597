import numpy as np
import pytest
from PIL import Image

from models.taxonomy import CellClass
from models.training.data.crops import fill_black_border, read_crop
from models.training.data.lmu import UM_PER_PX
from models.training.data.manifest import LabelledCell


def numbered(height, width):
    """An image whose pixels all differ and are nowhere black."""
    values = np.arange(1, height * width + 1, dtype=np.uint8).reshape(height, width)
    return np.repeat(values[:, :, None], 3, axis=2)


def test_black_rows_and_columns_are_filled_with_the_mirrored_picture():
    whole = numbered(4, 5)
    padded = whole.copy()
    padded[:2] = 0
    padded[:, 4] = 0
    filled = fill_black_border(padded)[:, :, 0]
    rows, columns = [3, 2, 2, 3], [0, 1, 2, 3, 3]
    np.testing.assert_array_equal(filled, whole[:, :, 0][np.ix_(rows, columns)])


def test_a_border_wider_than_the_picture_is_filled_by_mirroring_again():
    padded = np.zeros((1, 7, 3), np.uint8)
    padded[0, 5:] = [[1, 1, 1], [2, 2, 2]]
    np.testing.assert_array_equal(fill_black_border(padded)[0, :, 0], [1, 1, 2, 2, 1, 1, 2])


def test_one_pixel_that_is_not_black_keeps_its_row():
    picture = numbered(4, 5)
    picture[0] = 0
    picture[0, 3, 2] = 1
    np.testing.assert_array_equal(fill_black_border(picture), picture)


def test_black_rows_inside_the_picture_are_kept():
    picture = numbered(5, 5)
    picture[2] = 0
    np.testing.assert_array_equal(fill_black_border(picture), picture)


def test_a_wholly_black_image_is_left_alone():
    black = np.zeros((4, 4, 3), np.uint8)
    np.testing.assert_array_equal(fill_black_border(black), black)


def test_a_padded_rgba_tiff_is_read_without_alpha_and_without_black(tmp_path):
    pixels = np.full((400, 400, 4), 200, np.uint8)
    pixels[:, :150] = (0, 0, 0, 0)
    path = tmp_path / "padded.tiff"
    Image.fromarray(pixels).save(path)
    cell = LabelledCell(path, "lmu", CellClass.MYO, "", UM_PER_PX)
    assert (read_crop(cell, field_um=29.0, px=400) == 200).all()


NAMES = [
    "EOS/EOS_0012_110.tiff",
    "EOS/EOS_0018_102.tiff",
    "LYT/LYT_0231_101.tiff",
    "LYT/LYT_0302_105.tiff",
    "MON/MON_0030_103.tiff",
    "MON/MON_0083_108.tiff",
    "MYO/MYO_0203_107.tiff",
    "MYO/MYO_0262_104.tiff",
    "NGS/NGS_0363_101.tiff",
    "NGS/NGS_0377_102.tiff",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_genuine_crop_is_the_classifiers_view_pixel_for_pixel(real_data, name):
    path = real_data / "lmu" / name
    cell = LabelledCell(path, "lmu", CellClass(name[:3]), "", UM_PER_PX)
    crop = read_crop(cell, field_um=29.0, px=400)
    with Image.open(path) as file:
        assert file.mode == "RGBA"
        np.testing.assert_array_equal(crop, np.asarray(file)[:, :, :3])
