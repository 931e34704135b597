"""On stitched areas of real smears, and on a demo slide of which the truth is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.monolayer_auc import map_demo, measure_auc
from tests.builders import ArraySlide
from worker.demo import Zone
from worker.monolayer import MonolayerMap, Verdict, map_monolayer

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


@pytest.mark.parametrize(("mm2", "seed"), [(1, 0), (2, 1), (2, 5)])
def test_the_single_layer_of_a_demo_slide_is_told_from_thick_end_and_glass(
    tmp_path: Path, mm2: float, seed: int
) -> None:
    found, truth = map_demo(tmp_path / "demo.tiff", mm2=mm2, seed=seed)
    assert measure_auc(found, truth, Zone.THICK, Zone.GLASS) >= 0.98
