"""From a slide to the map of its monolayer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from service.contract.failure import AnalysisError, FailureCode, RegionUnreadable
from worker.monolayer.grid import SQUARES, TILE_PX, UM_PER_PX, TileGrid
from worker.monolayer.measures import BARE_GLASS, Measures, Verdict, find_bare, measure_tile
from worker.monolayer.stain import Stain
from worker.monolayer.survey import survey_slide
from worker.region import CountableRegion, grid_shape
from worker.slide.protocol import Slide

BLOCK_TILES: Final = 8
"""Edge of what is read at once, tiles: 2048 px, 12 MiB."""

VOID: Final = 3
"""Edge of the smallest bare patch that is cut out, squares: 56 µm, a few cells' distance."""

TILE_DTYPE: Final = np.dtype(
    [("verdict", "U12"), ("score", "f4"), *((field.name, "f4") for field in fields(Measures))]
)
"""Verdict, score and `Measures` of a tile; all but the verdict NaN where it is unreadable."""

UNREADABLE_TILE: Final = np.array(
    [(Verdict.UNREADABLE, np.nan, *(np.nan for _ in fields(Measures)))], TILE_DTYPE
)[0]


@dataclass(frozen=True, slots=True, eq=False)
class MonolayerMap:
    """Where the cells of a slide can be counted, and why not elsewhere.

    Attributes:
        tiles: records of `TILE_DTYPE`, shape (rows, cols).
        tile_l0: edge of a tile, level-0 px; the last row and column take what is left of the
            slide, 0.5 to 1.5 times that.
        region: the tiles whose verdict is monolayer, less bare glass of 56 µm and more across.
        um_per_px: micrometres per level-0 px.
        stain: of the slide.
    """

    tiles: NDArray[np.void]
    tile_l0: float
    region: CountableRegion
    um_per_px: float
    stain: Stain

    @property
    def area_mm2(self) -> float:
        """Countable area."""
        return self.region.area_mm2(self.um_per_px)

    @property
    def counts(self) -> dict[Verdict, int]:
        """Tiles per verdict."""
        return {verdict: int(np.sum(self.tiles["verdict"] == verdict)) for verdict in Verdict}

    @property
    def tiles_failed(self) -> int:
        """Tiles that could not be read."""
        return self.counts[Verdict.UNREADABLE]


def map_monolayer(
    slide: Slide,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    block_tiles: int = BLOCK_TILES,
) -> MonolayerMap:
    """Measure every tile of the smear and find the countable ones.

    The feathered end is countable as far as its cells are a single sharp layer. Unreadable tiles
    are skipped and counted.

    Args:
        slide: of a resolution finer than 0.58 µm/px; on a coarser one all is out of focus.
        on_progress: told (tiles measured, tiles to measure) after every tile.
        block_tiles: edge of what is read at once, tiles; costs memory, does not change the result.

    Raises:
        AnalysisError: no_monolayer; not one tile is countable.
        SlideError: slide_unreadable; nothing of the smear can be decoded.
    """
    grid = TileGrid.over(slide.info)
    survey = survey_slide(slide, grid)
    tiles = np.full(grid.shape, _record(BARE_GLASS), TILE_DTYPE)
    bare = np.ones(grid_shape(slide.info.size, grid.tile_l0 / SQUARES), np.bool_)
    total = int(np.count_nonzero(survey.candidates))
    read = _read_candidates(slide, grid, survey.candidates, block_tiles)
    for done, (row, col, rgb) in enumerate(read, start=1):
        if rgb is None:
            tiles[row, col] = UNREADABLE_TILE
        else:
            tiles[row, col] = _record(measure_tile(rgb, survey.stain))
            squares = find_bare(rgb, survey.stain, TILE_PX // SQUARES)
            y, x = row * SQUARES, col * SQUARES
            bare[y : y + squares.shape[0], x : x + squares.shape[1]] = squares
        on_progress(done, total)
    mask = _cut_mask(tiles["verdict"] == Verdict.MONOLAYER, bare)
    region = CountableRegion(slide.info.size, grid.tile_l0 / SQUARES, mask)
    found = MonolayerMap(tiles, grid.tile_l0, region, slide.info.um_per_px, survey.stain)
    if not region.mask.any():
        raise AnalysisError(FailureCode.NO_MONOLAYER, _describe(found.counts))
    return found


def read_stain(slide: Slide) -> Stain:
    """Glass and red cells of a slide, for scans that map no monolayer.

    Raises:
        SlideError: slide_unreadable; nothing of the smear can be decoded.
    """
    return survey_slide(slide, TileGrid.over(slide.info)).stain


def _read_candidates(
    slide: Slide, grid: TileGrid, candidates: NDArray[np.bool_], block_tiles: int
) -> Iterator[tuple[int, int, NDArray[np.uint8] | None]]:
    """Row, column and RGB of every candidate; None for what cannot be decoded."""
    blocks = list(grid.blocks_around(candidates, block_tiles))
    for index, pixels in slide.read_each([grid.region(block) for block in blocks], UM_PER_PX):
        block = blocks[index]
        for row, col in np.argwhere(candidates[block.rows, block.cols]).tolist():
            row, col = row + block.rows.start, col + block.cols.start
            if not isinstance(pixels, RegionUnreadable):
                yield row, col, grid.cut(pixels, block, row, col)
                continue
            try:
                yield row, col, grid.read_tile(slide, row, col)
            except RegionUnreadable:
                yield row, col, None


def _cut_mask(countable: NDArray[np.bool_], bare: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Squares of countable tiles, less voids: bare squares that form at least `VOID` by `VOID`.

    Smaller gaps between sparse cells stay, so that a thin smear is not riddled with holes.
    """
    rows, cols = (
        np.minimum(np.arange(squares) // SQUARES, tiles - 1)
        for squares, tiles in zip(bare.shape, countable.shape, strict=True)
    )
    voids = binary_opening(bare, np.ones((VOID, VOID), np.bool_))
    mask: NDArray[np.bool_] = countable[np.ix_(rows, cols)] & ~voids
    return mask


def _record(measures: Measures) -> np.void:
    values = (getattr(measures, field.name) for field in fields(Measures))
    record: np.void = np.array([(measures.verdict, measures.score, *values)], TILE_DTYPE)[0]
    return record


def _describe(counts: dict[Verdict, int]) -> str:
    total = sum(counts.values())
    shares = sorted(((n, verdict) for verdict, n in counts.items() if n), reverse=True)
    found = ", ".join(f"{100 * n / total:.3g} % {verdict}" for n, verdict in shares)
    return (
        f"no countable single layer of cells among {total} tiles: {found.replace('_', ' ')}; "
        "scan another part of the smear, or count on all of it with --region all"
    )
