import numpy as np
import pytest

from tests.builders import ArraySlide
from worker.patches import patch_region, read_patches
from worker.slide.geometry import Region

PATCH_PX, PATCH_UM = 400, 29.0
UM_PER_PX = PATCH_UM / PATCH_PX


def slide_with_a_dot(
    x: int, y: int, *, width: int = 900, height: int = 700, **kwargs
) -> ArraySlide:
    pixels = np.full((height, width, 3), 240, np.uint8)
    pixels[y - 5 : y + 5, x - 5 : x + 5] = 10
    return ArraySlide(pixels, UM_PER_PX, **kwargs)


def read_all(slide, centres, batch_size=64):
    return list(
        read_patches(slide, centres, patch_px=PATCH_PX, patch_um=PATCH_UM, batch_size=batch_size)
    )


def test_the_cell_is_at_the_centre_of_its_patch():
    (batch,) = read_all(slide_with_a_dot(450, 350), [(450.0, 350.0)])
    assert batch.patches.shape == (1, 400, 400, 3)
    ys, xs = np.nonzero(batch.patches[0, :, :, 0] < 128)
    assert (xs.mean() + 0.5, ys.mean() + 0.5) == (200.0, 200.0)
    assert batch.at_slide_edge == (False,)


def test_patch_at_the_slide_edge_is_padded_white_and_flagged():
    (batch,) = read_all(slide_with_a_dot(10, 350), [(10.0, 350.0)])
    assert (batch.patches[0, :, :189] == 255).all()
    assert batch.at_slide_edge == (True,)


@pytest.mark.parametrize(("x", "flagged"), [(200.0, False), (199.6, False), (199.4, True)])
def test_a_patch_that_just_fits_is_not_flagged(x, flagged):
    (batch,) = read_all(slide_with_a_dot(450, 350), [(x, 350.0)])
    assert batch.at_slide_edge == (flagged,)


def test_a_patch_is_29_um_wide_at_any_resolution():
    coarse = ArraySlide(np.full((500, 500, 3), 200, np.uint8), 0.2)
    (batch,) = read_all(coarse, [(250.0, 250.0)])
    assert batch.patches.shape == (1, 400, 400, 3)
    region = patch_region((250.0, 250.0), PATCH_PX, PATCH_UM, 0.2)
    assert region.width == region.height == pytest.approx(145.0)
    assert region.x + region.width / 2 == pytest.approx(250.0, abs=UM_PER_PX / 0.2 / 2)


@pytest.mark.parametrize("x", [450.0, 450.3, 449.51])
def test_a_slide_of_the_patch_scale_is_copied_px_by_px(x):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    (batch,) = read_all(ArraySlide(pixels, UM_PER_PX), [(x, 350.0)])
    assert (batch.patches[0] == pixels[150:550, 250:650]).all()


def test_an_unreadable_patch_is_named_and_the_others_are_read():
    slide = slide_with_a_dot(450, 350, damage=(Region(690, 0, 10, 10),))
    (batch,) = read_all(slide, [(250.0, 250.0), (600.0, 100.0), (260.0, 450.0)])
    assert sorted(batch.cells) == [0, 2]
    assert batch.unreadable == (1,)
    assert len(batch.patches) == 2


def test_every_cell_comes_exactly_once_in_batches_of_at_most_the_size():
    slide = slide_with_a_dot(450, 350, damage=(Region(690, 0, 10, 10),))
    centres = [(200.0 + 3 * i, 350.0) for i in range(100)]
    batches = read_all(slide, centres, batch_size=7)
    seen = [i for batch in batches for i in batch.cells + batch.unreadable]
    assert sorted(seen) == list(range(100))
    assert [len(batch.cells + batch.unreadable) for batch in batches] == [7] * 14 + [2]


def test_batches_may_be_kept():
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    centres = [(210.0 + 5 * i, 300.0 + i) for i in range(20)]
    slide = ArraySlide(pixels, UM_PER_PX, damage=(Region(480, 0, 1, 700),))
    batches = read_all(slide, centres, batch_size=3)
    read = {i: patch for b in batches for i, patch in zip(b.cells, b.patches, strict=True)}
    assert 0 < len(read) < 20
    for i, patch in read.items():
        x, y = int(centres[i][0]) - 200, int(centres[i][1]) - 200
        assert (patch == pixels[y : y + 400, x : x + 400]).all()


def test_no_cells_need_no_batch():
    assert read_all(slide_with_a_dot(450, 350), []) == []
