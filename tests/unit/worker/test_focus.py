import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from service.contract.settings import AnalysisSettings
from tests.builders import expose
from worker.focus import measure_cell_blur_um

SIDE_PX = 400
UM_PER_PX = 29 / SIDE_PX
LIMIT_UM = AnalysisSettings().blurred_above_um
Picture = NDArray[np.uint8]


def draw_cell(sigma_um: float, *, stain: float = 1.0, um_per_px: float = UM_PER_PX) -> Picture:
    """A round nucleus between two red cells, blurred."""
    side = round(29 / um_per_px)
    y, x = (np.mgrid[0:side, 0:side] + 0.5) * um_per_px
    nucleus = (np.hypot(x - 14.5, y - 14.5) < 5).astype(np.float32)
    red = ((np.hypot(x - 4, y - 5) < 3.6) | (np.hypot(x - 24, y - 22) < 3.6)).astype(np.float32)
    soft = [gaussian_filter(part, sigma_um / um_per_px) for part in (red, nucleus)]
    return expose(soft[0], soft[1], stain=stain)


@pytest.mark.parametrize("stain", [0.3, 1.0])
@pytest.mark.parametrize("sigma_um", [0.4, 0.7, 1.0, 1.5])
def test_a_known_blur_is_measured_whatever_the_depth_of_stain(
    sigma_um: float, stain: float
) -> None:
    measured = measure_cell_blur_um(draw_cell(sigma_um, stain=stain), UM_PER_PX)
    assert measured == pytest.approx(sigma_um, rel=0.2)


def test_a_pale_cell_is_told_from_a_blurred_one() -> None:
    pale, blurred = draw_cell(0.2, stain=0.15), draw_cell(1.0)
    assert measure_cell_blur_um(pale, UM_PER_PX) < LIMIT_UM
    assert measure_cell_blur_um(blurred, UM_PER_PX) > LIMIT_UM


def test_an_empty_patch_has_no_blur() -> None:
    empty = expose(np.zeros((SIDE_PX, SIDE_PX), np.float32))
    assert np.isnan(measure_cell_blur_um(empty, UM_PER_PX))
    assert np.isnan(measure_cell_blur_um(np.full_like(empty, 255), UM_PER_PX))


@pytest.mark.parametrize("um_per_px", [0.1, 0.145, 0.25])
def test_the_scale_of_a_patch_does_not_matter(um_per_px: float) -> None:
    blur_um = measure_cell_blur_um(draw_cell(0.7, um_per_px=um_per_px), um_per_px)
    assert blur_um == pytest.approx(0.7, rel=0.2)


def test_a_patch_too_small_to_have_an_inside_has_no_blur() -> None:
    assert np.isnan(measure_cell_blur_um(np.zeros((8, 8, 3), np.uint8), UM_PER_PX))


def load_crops(real_data: Path, source: str) -> list[Picture]:
    with (real_data / "cells.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == source]
    crops = []
    for row in rows[:: max(1, len(rows) // 60)]:
        with Image.open(real_data / row["path"]) as picture:
            reach = 14.5 / float(row["um_per_px"])
            x, y = picture.width / 2, picture.height / 2
            box = (x - reach, y - reach, x + reach, y + reach)
            size = (SIDE_PX, SIDE_PX)
            crop = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=box)
            crops.append(np.asarray(crop))
    return crops


@pytest.mark.parametrize("source", ["deepapl", "pbc", "lmu"])
def test_real_cells_are_in_focus_and_blurred_ones_are_not(real_data: Path, source: str) -> None:
    crops = load_crops(real_data, source)
    sigma = 0.75 / UM_PER_PX
    blurred = [gaussian_filter(crop, (sigma, sigma, 0), truncate=3) for crop in crops]
    sharp, soft = (
        np.array([measure_cell_blur_um(crop, UM_PER_PX) > LIMIT_UM for crop in some])
        for some in (crops, blurred)
    )
    assert sharp.mean() <= 0.02
    assert soft.mean() >= 0.98
