"""A first look at a slide: which tiles may hold cells, and how they are stained."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.background import estimate_background
from models.density import density_table
from service.contract.failure import FailureCode, RegionUnreadable, SlideError
from worker.monolayer.grid import TileGrid
from worker.monolayer.stain import Stain, estimate_stain
from worker.slide.protocol import Slide

OVERVIEW: Final = 16
"""Measuring px per px of the overview: 9.3 µm, about one red cell."""

OVERVIEW_TILES: Final = 64
"""Edge of what is read of the overview at once, tiles: 1024 px."""

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
    if coarsest >= MIN_GAIN * grid.um_per_px:
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
    return Survey(candidates, estimate_stain(samples, grid.um_per_px))


def _read_overview(slide: Slide, grid: TileGrid) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Candidates and mean density of every tile; what cannot be read is a candidate."""
    rows, cols = grid.shape
    edge = grid.tile_px // OVERVIEW
    overview = np.full((rows * edge, cols * edge, 3), 255, np.uint8)
    unknown = np.zeros(grid.shape, np.bool_)
    for block in grid.blocks(OVERVIEW_TILES):
        try:
            pixels = slide.read(grid.region(block), grid.um_per_px * OVERVIEW)
        except RegionUnreadable:
            unknown[block.rows, block.cols] = True
            continue
        y, x = block.rows.start * edge, block.cols.start * edge
        overview[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    table = density_table(estimate_background(overview))
    density = table[1][overview[..., 1]].reshape(rows, edge, cols, edge)
    return unknown | (density.max(axis=(1, 3)) > SMEAR_DENSITY), density.mean(axis=(1, 3))


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
