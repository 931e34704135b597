"""A folder shaped like the paper's data set, full of drawings: for timing, never for figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.taxonomy import CellClass

SIDE: Final = 400
COARSE: Final = 100
"""Drawn at this width and enlarged by whole pixels, so that a file is small and quick to write."""


def make_lmu_shaped(folder: Path, counts: Mapping[CellClass, int]) -> Path:
    """Write `AML-Cytomorphology/CLS/CLS_0001.tiff` … and `annotations.dat`; once.

    Returns:
        The root, as `smearscan train prepare --lmu` takes it.
    """
    finished = folder / "annotations.dat"
    if finished.is_file():
        return folder
    lines = []
    for code, count in counts.items():
        home = folder / "AML-Cytomorphology" / code
        home.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"{code}_{number:04d}.tiff"
            image = Image.fromarray(draw_cell(code, number))
            image.save(home / name, compression="tiff_adobe_deflate")
            lines.append(f"{code}/{name} {code} nan nan\n")
    finished.write_text("".join(lines))
    return folder


def draw_cell(code: CellClass, number: int) -> NDArray[np.uint8]:
    """A lobed disc among paler ones, RGBA, shape (400, 400, 4), another for every number.

    As unlike each other as real crops are, so that the search for near-duplicates has no more to
    confirm than among those.
    """
    rng = np.random.default_rng([list(CellClass).index(code), number])
    y, x = np.mgrid[:COARSE, :COARSE]
    image = np.full((COARSE, COARSE, 4), 255, np.uint8)
    image[..., :3] = rng.integers(225, 245, 3)
    for _ in range(rng.integers(6, 20)):
        centre, radius = rng.uniform(0, COARSE, 2), rng.uniform(9, 14)
        distance = np.hypot(y - centre[0], x - centre[1])
        shade = rng.integers(150, 215, 3)
        image[distance < radius, :3] = shade
        image[distance < radius / 3, :3] = shade + rng.integers(0, 40)
    middle, radius = COARSE / 2 + rng.normal(0, 2, 2), rng.uniform(16, 30)
    image[np.hypot(y - middle[0], x - middle[1]) < radius, :3] = rng.integers(110, 210, 3)
    nucleus = rng.integers(30, 130, 3)
    for _ in range(rng.integers(1, 5)):
        lobe, size = middle + rng.normal(0, radius / 2.5, 2), radius * rng.uniform(0.25, 0.6)
        image[np.hypot(y - lobe[0], x - lobe[1]) < size, :3] = nucleus + rng.integers(0, 25)
    return image.repeat(SIDE // COARSE, 0).repeat(SIDE // COARSE, 1)
