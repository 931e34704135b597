"""A first look at a slide: which tiles may hold cells, and how they are stained."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.background import estimate_background
from models.density import density_table
from service.contract.failure import FailureCode, RegionUnreadable, SlideError
from worker.monolayer.grid import TILE_PX, UM_PER_PX, TileGrid
from worker.monolayer.stain import Stain, estimate_stain
from worker.slide.geometry import Region
from worker.slide.protocol import Slide

OVERVIEW: Final = 16
"""Measuring px per px of the overview: 9.3 µm, about one red cell."""

OVERVIEW_BLOCK_PX: Final = 1024
"""Edge of what is read of the overview at once."""

MIN_GAIN: Final = 2.0
"""An overview is read only from a level this much coarser than the measuring scale: without a
pyramid it would cost as much as measuring everything."""

SMEAR_DENSITY: Final = 0.1
"""Density of an overview px, natural log, from which its tile is measured and not taken for glass.
Half a pale red cell; uneven light on bare glass stays below."""

SAMPLES: Final = 24
"""Tiles sampled for the stain, evenly by rank of darkness, and as many evenly by darkness: the
first see the bulk of the smear, the second a small monolayer beside a large thick part."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What the first look found.

    Attributes:
        candidates: shape (rows, cols); False where a tile is bare glass for certain.
        stain: of the slide.
    """

    candidates: NDArray[np.bool_]
    stain: Stain


def survey_slide(slide: Slide, grid: TileGrid) -> Survey:
    """Look at the overview, then at samples of the smear.

    Raises:
        SlideError: slide_unreadable; not one of the samples can be decoded.
    """
    candidates = np.ones(grid.shape, np.bool_)
    darkness = np.zeros(grid.shape, np.float32)
    coarsest = max(level.downsample for level in slide.info.levels) * slide.info.um_per_px
    if coarsest >= MIN_GAIN * UM_PER_PX:
        candidates, darkness = _read_overview(slide, grid)
    places = _choose_samples(candidates if candidates.any() else ~candidates, darkness)
    samples = []
    for row, col in places:
        try:
            samples.append(grid.read_tile(slide, row, col))
        except RegionUnreadable:
            continue
    if not samples:
        raise SlideError(
            FailureCode.SLIDE_UNREADABLE,
            f"none of {len(places)} sample regions, spread over the smear, can be decoded: the "
            "file is damaged; export it again from the scanner",
        )
    return Survey(candidates, estimate_stain(samples))


def _read_overview(slide: Slide, grid: TileGrid) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Candidates and mean density of every tile; what cannot be read is a candidate."""
    height, width = (-(-int(edges[-1]) // OVERVIEW) for edges in (grid.y_px, grid.x_px))
    overview = np.zeros((height, width, 3), np.uint8)
    known = np.zeros((height, width), np.bool_)
    step_l0 = OVERVIEW * grid.px_l0
    parts = [
        np.s_[y : min(y + OVERVIEW_BLOCK_PX, height), x : min(x + OVERVIEW_BLOCK_PX, width)]
        for y in range(0, height, OVERVIEW_BLOCK_PX)
        for x in range(0, width, OVERVIEW_BLOCK_PX)
    ]
    regions = [
        Region(
            cols.start * step_l0,
            rows.start * step_l0,
            (cols.stop - cols.start) * step_l0,
            (rows.stop - rows.start) * step_l0,
        )
        for rows, cols in parts
    ]
    for index, pixels in slide.read_each(regions, UM_PER_PX * OVERVIEW):
        if not isinstance(pixels, RegionUnreadable):
            overview[parts[index]] = pixels
            known[parts[index]] = True
    if not known.any():
        return np.ones(grid.shape, np.bool_), np.zeros(grid.shape, np.float32)
    green = density_table(estimate_background(overview[known]))[1]
    density = np.where(known, np.take(green, overview[..., 1]), SMEAR_DENSITY)
    step = TILE_PX // OVERVIEW
    rows_at, cols_at = (np.arange(count) * step for count in grid.shape)
    darkest = np.maximum.reduceat(np.maximum.reduceat(density, rows_at), cols_at, axis=1)
    total = np.add.reduceat(np.add.reduceat(density, rows_at), cols_at, axis=1)
    return darkest >= SMEAR_DENSITY, (total / step**2).astype(np.float32)


def _choose_samples(
    candidates: NDArray[np.bool_], darkness: NDArray[np.float32]
) -> list[tuple[int, int]]:
    """Rows and columns of the tiles to sample."""
    places = np.argwhere(candidates)
    values = darkness[candidates]
    order = np.argsort(values, kind="stable")
    by_rank = np.linspace(0, len(order) - 1, SAMPLES).round().astype(int)
    ladder = np.linspace(values.min(), values.max(), SAMPLES)
    by_value = np.minimum(np.searchsorted(values[order], ladder), len(order) - 1)
    chosen = order[np.unique(np.concatenate([by_rank, by_value]))]
    return [(int(row), int(col)) for row, col in places[np.sort(chosen)]]
