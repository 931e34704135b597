"""On stitched areas of real smears, and on a demo slide of which the truth is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import points_in_poly

from tests.builders import ArraySlide
from worker.demo import Zone, write_demo_slide
from worker.monolayer import MonolayerMap, Verdict, map_monolayer
from worker.slide.opening import open_slide

UM_PER_PX = 0.2
EMPTY_SCRATCH_PX = ((300, 1250), (1500, 1450), (2600, 1650))
"""Points in the scratch that crosses mosaic p14, (x, y)."""


def load_mosaic(real_data: Path, patient: str) -> NDArray[np.uint8]:
    path = next((real_data / "mosaics").glob(f"{patient}_*.jpg"))
    return np.array(Image.open(path).convert("RGB"))


def map_mosaic(picture: NDArray[np.uint8]) -> MonolayerMap:
    return map_monolayer(ArraySlide(picture, UM_PER_PX))


@pytest.mark.parametrize("patient", ["p00", "p08", "p15", "p20"])
def test_a_mosaic_is_countable_be_it_sparse_or_packed_with_blasts(
    real_data: Path, patient: str
) -> None:
    found = map_mosaic(load_mosaic(real_data, patient))
    assert found.counts[Verdict.MONOLAYER] == found.tiles.size
    assert found.region.mask.mean() > 0.98


def test_the_scratch_across_a_mosaic_is_cut_out(real_data: Path) -> None:
    found = map_mosaic(load_mosaic(real_data, "p14"))
    assert not any(found.region.contains(x, y) for x, y in EMPTY_SCRATCH_PX)
    assert 0.85 < found.region.mask.mean() < 0.95


def test_another_stain_and_lamp_keep_nine_verdicts_of_ten(real_data: Path) -> None:
    picture = load_mosaic(real_data, "p08")
    picture[:, :740] = np.median(picture[:, :740], axis=(0, 1))
    expected = map_mosaic(picture).tiles["verdict"]
    for gain, power in (((0.6, 0.75, 0.8), 0.7), ((0.9, 0.8, 1.0), 1.4)):
        light = (picture / 255.0) ** power * np.array(gain)
        changed = map_mosaic((light * 255).astype(np.uint8)).tiles["verdict"]
        assert np.mean(changed == expected) >= 0.9


def test_the_single_layer_of_a_demo_slide_is_told_from_thick_end_and_glass(tmp_path: Path) -> None:
    path = tmp_path / "demo.tiff"
    truth = write_demo_slide(path, mm2=2, seed=5, um_per_px=0.29)
    with open_slide(path) as slide:
        found = map_monolayer(slide)
    rows, cols = found.tiles.shape
    centres = (np.argwhere(np.ones((cols, rows))) + 0.5) * found.tile_l0
    inside = {
        kind: np.any(
            [points_in_poly(centres, r.polygon) for r in truth.regions if r.kind is kind], axis=0
        )
        for kind in Zone
    }
    scores = found.tiles["score"].T.reshape(-1)
    single = scores[inside[Zone.MONOLAYER]]
    other = scores[inside[Zone.THICK] | inside[Zone.GLASS]]
    above = (single[:, None] > other).mean() + 0.5 * (single[:, None] == other).mean()
    assert above >= 0.95
