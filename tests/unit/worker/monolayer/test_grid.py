import numpy as np
import pytest

from tests.builders import ArraySlide
from worker.monolayer.grid import TILE_PX, UM_PER_PX, Block, TileGrid


def lay_grid(width_px: float, height_px: float) -> TileGrid:
    """The grid of a slide whose size is given in measuring px, at half that scale."""
    pixels = np.zeros((round(height_px * 2), round(width_px * 2), 3), np.uint8)
    return TileGrid.over(ArraySlide(pixels, UM_PER_PX / 2).info)


@pytest.mark.parametrize(
    ("width_px", "last_px"), [(512, 256), (639, 383), (641, 129), (767.5, 255), (30, 30), (0.5, 1)]
)
def test_the_last_column_takes_what_is_left_of_the_slide(width_px: float, last_px: int) -> None:
    x_px = lay_grid(width_px, TILE_PX).x_px
    assert x_px[-1] - x_px[-2] == last_px
    assert (np.diff(x_px)[:-1] == TILE_PX).all()


def test_blocks_hold_all_wanted_tiles_once_and_no_empty_rim() -> None:
    grid = lay_grid(9 * TILE_PX, 5 * TILE_PX)
    wanted = np.random.default_rng(3).random(grid.shape) < 0.3
    seen = np.zeros(grid.shape, int)
    for block in grid.blocks_around(wanted, 3):
        inside = wanted[block.rows, block.cols]
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        seen[block.rows, block.cols] += 1
    assert (seen[wanted] == 1).all() and seen.max() == 1


def test_a_tile_cut_out_of_a_block_is_the_tile_read_alone() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1300, 1500, 3), dtype=np.uint8)
    slide = ArraySlide(pixels, UM_PER_PX / 2.2)
    grid = TileGrid.over(slide.info)
    block = Block(slice(0, grid.shape[0]), slice(0, grid.shape[1]))
    together = slide.read(grid.region(block), UM_PER_PX)
    for row, col in np.ndindex(*grid.shape):
        alone = grid.read_tile(slide, row, col)
        assert (grid.cut(together, block, row, col) == alone).all()
