import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from models.taxonomy import CellClass
from models.training.data.duplicates import find_duplicates, read_thumbnails
from models.training.data.fingerprints import find_close, hash_images
from models.training.data.lmu import UM_PER_PX
from models.training.data.manifest import LabelledCell, read_manifest


def scene(seed, px=600):
    """Random blobs about as large as nuclei and red cells, RGB."""
    noise = np.random.default_rng(seed).normal(size=(px, px, 3))
    smooth = gaussian_filter(noise, (25, 25, 0))
    return np.clip(150 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def crop(picture, x=100, y=100):
    return Image.fromarray(picture[y : y + 400, x : x + 400])


def pairs_of(tmp_path, images):
    cells = []
    for number, image in enumerate(images):
        path = tmp_path / f"{number}.png"
        image.save(path)
        cells.append(LabelledCell(path, "lmu", CellClass.MYO, "", UM_PER_PX, name=path.name))
    return find_duplicates(read_thumbnails(cells).grey)


def indices(pairs):
    return [(pair.first, pair.second) for pair in pairs]


def test_different_cells_are_no_duplicates(tmp_path):
    assert pairs_of(tmp_path, [crop(scene(seed)) for seed in range(12)]) == ()


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_or_mirrored_copy_is_found(tmp_path, quarter_turns, mirrored):
    original = np.asarray(crop(scene(0)))
    copy = np.rot90(original[:, ::-1] if mirrored else original, quarter_turns)
    others = [crop(scene(seed)) for seed in (1, 2)]
    images = [others[0], Image.fromarray(np.ascontiguousarray(copy)), others[1], crop(scene(0))]
    (pair,) = pairs_of(tmp_path, images)
    assert (pair.first, pair.second, pair.shift_um) == (1, 3, 0.0)


def test_a_copy_that_was_reencoded_and_brightened_is_found(tmp_path):
    buffer = io.BytesIO()
    crop(scene(0)).point(lambda value: min(255, int(value * 1.1))).save(buffer, "JPEG", quality=30)
    (pair,) = pairs_of(tmp_path, [crop(scene(0)), crop(scene(1)), Image.open(buffer)])
    assert (pair.first, pair.second) == (0, 2)
    assert 0.97 < pair.correlation < 1.0


@pytest.mark.parametrize(("dx", "dy"), [(100, -37), (-81, 55), (0, 90)])
def test_two_cut_outs_around_neighbouring_cells_are_found_with_their_shift(tmp_path, dx, dy):
    picture = scene(0)
    images = [crop(picture), crop(scene(1)), crop(picture, 100 + dx, 100 + dy)]
    (pair,) = pairs_of(tmp_path, images)
    assert (pair.first, pair.second) == (0, 2)
    assert pair.shift_um == pytest.approx(np.hypot(dx, dy) * UM_PER_PX, abs=1.0)


def test_files_with_the_same_pixels_are_linked_to_the_first_of_them(tmp_path):
    images = [crop(scene(1)), crop(scene(0)), crop(scene(0)), crop(scene(0))]
    assert indices(pairs_of(tmp_path, images)) == [(1, 2), (1, 3)]


def test_a_flat_image_is_like_no_other(tmp_path):
    flat = [Image.new("RGB", (400, 400), (level,) * 3) for level in (0, 90, 255)]
    assert pairs_of(tmp_path, [*flat, crop(scene(0))]) == ()


def test_no_thumbnails_give_no_pairs():
    assert find_duplicates(np.empty((0, 64, 64), np.uint8)) == ()


def test_files_that_cannot_be_decoded_are_named(tmp_path):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    crop(scene(0)).save(whole)
    cut.write_bytes(whole.read_bytes()[:5000])
    cells = [LabelledCell(p, "lmu", CellClass.MYO, "", UM_PER_PX) for p in (cut, whole)]
    thumbnails = read_thumbnails(cells)
    assert (thumbnails.readable, thumbnails.unreadable) == ((1,), (0,))


def test_close_fingerprints_are_exactly_those_of_a_plain_double_loop():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2**12, 1500, dtype=np.uint64)
    second = rng.integers(0, 2**12, 1500, dtype=np.uint64)
    with ThreadPoolExecutor(2) as pool:
        found = find_close(first, second, max_distance=1, pool=pool)
    distance = np.bitwise_count(first[:, None] ^ second[None])
    expected = np.argwhere(np.triu(distance <= 1, k=1))
    assert len(expected) > 1000
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))


def test_mirroring_flips_exactly_the_odd_coefficients_of_a_fingerprint():
    grey = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    unlike = hash_images(grey) ^ hash_images(grey[:, :, ::-1])
    bits = np.unpackbits(unlike.view(np.uint8)).reshape(8, 8)
    np.testing.assert_array_equal(bits, np.tile([0, 1], (8, 4)))


@pytest.mark.slow
def test_every_pair_found_in_real_crops_lies_within_one_patient(real_data):
    rows = read_manifest(real_data / "cells.csv", root=real_data).cells
    cells = [c for c in rows if c.source == "deepapl" and c.patient in {"p08", "p14", "p15", "p35"}]
    thumbnails = read_thumbnails(cells)
    found = find_duplicates(thumbnails.grey)
    patients = [
        (cells[thumbnails.readable[p.first]].patient, cells[thumbnails.readable[p.second]].patient)
        for p in found
    ]
    assert len(found) >= 10
    assert all(first == second for first, second in patients)
