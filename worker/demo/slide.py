"""Renders a synthetic blood smear and writes down what is on it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from models.taxonomy import CellClass
from worker.demo.morphology import DEFAULT_MIX
from worker.demo.population import CELLS_PER_MM2, Leukocytes, plant_leukocytes
from worker.demo.pyramid import write_pyramid
from worker.demo.scene import Scene
from worker.demo.smear import Smear
from worker.demo.stain import MAY_GRUNWALD_GIEMSA, Stain
from worker.demo.truth import DemoTruth, PlantedCell, save_truth
from worker.slide.geometry import Size

ASPECT: Final = 1.6
"""Width over height."""
SIZE_STEP_PX: Final = 128
"""Sizes are multiples of this, so that pyramid levels halve exactly."""
UM_PER_PX_RANGE: Final = (0.02, 1.0)


def write_demo_slide(
    path: Path,
    *,
    mm2: float,
    seed: int,
    leukocytes: int | None = None,
    blast_fraction: float = 0.05,
    um_per_px: float = 0.0725,
    stain: Stain = MAY_GRUNWALD_GIEMSA,
    mix: Mapping[CellClass, float] = DEFAULT_MIX,
    progress: Callable[[int, int], None] | None = None,
) -> DemoTruth:
    """Write a synthetic smear as a tiled JPEG pyramid, and its truth file beside it.

    The same arguments give the same pixels. Memory does not grow with the slide beyond its width.

    Args:
        path: of the TIFF; its truth goes to the same name with suffix `.truth.json`.
        mm2: area of the slide, bare glass at its ends included.
        seed: of everything random, ≥ 0.
        leukocytes: cells to plant, EBO and KSC included; by default `CELLS_PER_MM2` a mm².
        blast_fraction: myeloblasts per leukocyte of the differential, 0–1.
        um_per_px: micrometres per level-0 px.
        stain: colours.
        mix: relative frequencies of the classes other than MYO.
        progress: told (level-0 px written, level-0 px in all) now and then.

    Returns:
        What was planted.

    Raises:
        ValueError: an argument is out of range, or the cells do not fit on the slide.
    """
    if not mm2 > 0:
        raise ValueError(f"mm2 is {mm2}; a slide needs an area")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if not UM_PER_PX_RANGE[0] <= um_per_px <= UM_PER_PX_RANGE[1]:
        raise ValueError(f"um_per_px is {um_per_px}; it must lie in {UM_PER_PX_RANGE}")
    size = _plan_size(mm2, um_per_px)
    smear = Smear(size.width * um_per_px, size.height * um_per_px, seed)
    count = round(CELLS_PER_MM2 * mm2) if leukocytes is None else leukocytes
    cells = plant_leukocytes(smear, seed, count, blast_fraction, mix)
    scene = Scene(size, um_per_px, smear, cells, stain, seed)
    truth = DemoTruth(
        seed=seed,
        mm2=mm2,
        width=size.width,
        height=size.height,
        um_per_px=um_per_px,
        stain=stain.name,
        blast_fraction=blast_fraction,
        leukocytes=_list_cells(smear, cells, um_per_px),
        regions=smear.regions(um_per_px),
    )
    write_pyramid(path, scene.read, size, um_per_px, progress=progress)
    save_truth(truth, path)
    return truth


def _plan_size(mm2: float, um_per_px: float) -> Size:
    height = np.sqrt(mm2 * 1e6 / ASPECT) / um_per_px
    return Size(_round_size(height * ASPECT), _round_size(height))


def _round_size(px: float) -> int:
    return max(1, round(px / SIZE_STEP_PX)) * SIZE_STEP_PX


def _list_cells(smear: Smear, cells: Leukocytes, um_per_px: float) -> tuple[PlantedCell, ...]:
    zones = smear.zones(cells.centres_um[:, 0], cells.centres_um[:, 1])
    centres = np.floor(cells.centres_um / um_per_px) + 0.5
    planted = [
        PlantedCell(
            x_px=float(x),
            y_px=float(y),
            code=code,
            diameter_um=round(float(diameter), 3),
            zone=zone,
            touching=bool(touching),
        )
        for (x, y), code, diameter, zone, touching in zip(
            centres, cells.codes, cells.diameters_um, zones, cells.touching, strict=True
        )
    ]
    return tuple(sorted(planted, key=lambda cell: (cell.y_px, cell.x_px)))
