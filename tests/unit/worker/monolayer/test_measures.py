from dataclasses import replace

import numpy as np
import pytest

from tests.builders import GLASS, RED_CELL, expose, lay_cells
from worker.monolayer.grid import TILE_PX, UM_PER_PX
from worker.monolayer.measures import Measures, Verdict, find_bare, measure_tile
from worker.monolayer.stain import Stain

STAIN = Stain(
    np.array(GLASS, np.float32),
    density=RED_CELL[1],
    tint=(RED_CELL[0] - RED_CELL[2]) / RED_CELL[1],
    red_cell=np.array(RED_CELL, np.float32),
)
GOOD = Measures(layers=0.3, coverage=0.3, overlap=0.02, leukocytes=0.01, blur_um=0.5)
TILE = (TILE_PX, TILE_PX)


def test_a_good_tile_has_a_full_score() -> None:
    assert GOOD.verdict is Verdict.MONOLAYER
    assert GOOD.score == 1.0


@pytest.mark.parametrize(
    ("within", "beyond", "verdict"),
    [
        ({"layers": 0.0401, "coverage": 0.0}, {"layers": 0.0399, "coverage": 0.0}, Verdict.GLASS),
        ({"layers": 0.0, "coverage": 0.0401}, {"layers": 0.0, "coverage": 0.0399}, Verdict.GLASS),
        ({"layers": 0.799}, {"layers": 0.801}, Verdict.THICK),
        ({"overlap": 0.449}, {"overlap": 0.451}, Verdict.THICK),
        ({"blur_um": 0.799}, {"blur_um": 0.801}, Verdict.OUT_OF_FOCUS),
    ],
)
def test_each_measure_has_a_limit_beyond_which_it_names_the_verdict(
    within: dict[str, float], beyond: dict[str, float], verdict: Verdict
) -> None:
    assert replace(GOOD, **within).verdict is Verdict.MONOLAYER
    assert replace(GOOD, **beyond).verdict is verdict


def test_cells_without_a_border_are_out_of_focus() -> None:
    assert replace(GOOD, blur_um=float("nan")).verdict is Verdict.OUT_OF_FOCUS


def test_blurred_glass_is_glass() -> None:
    assert replace(GOOD, layers=0.0, coverage=0.0, blur_um=9.0).verdict is Verdict.GLASS


def test_faint_shading_of_glass_is_glass_although_it_has_no_border() -> None:
    shaded = replace(GOOD, layers=0.03, coverage=0.0, blur_um=float("nan"))
    assert shaded.verdict is Verdict.GLASS


def test_a_thick_tile_out_of_focus_is_thick() -> None:
    assert replace(GOOD, layers=0.85, blur_um=2.0).verdict is Verdict.THICK


@pytest.mark.parametrize("sheets", [1, 2, 4])
def test_layers_are_the_mean_number_of_cells_over_a_point(sheets: int) -> None:
    cells = lay_cells(TILE, UM_PER_PX, sheets=sheets)
    assert measure_tile(expose(cells), STAIN).layers == pytest.approx(cells.mean(), rel=0.05)


def test_overlap_is_the_share_of_the_cell_area_that_is_double() -> None:
    cells = lay_cells(TILE, UM_PER_PX, sheets=2)
    expected = np.mean(cells > 1.5) / np.mean(cells > 0.5)
    assert measure_tile(expose(cells), STAIN).overlap == pytest.approx(expected, rel=0.05)


def test_cells_side_by_side_do_not_overlap() -> None:
    assert measure_tile(expose(lay_cells(TILE, UM_PER_PX)), STAIN).overlap < 0.01


def test_leukocytes_count_as_coverage_but_neither_as_layers_nor_as_overlap() -> None:
    nuclei = lay_cells(TILE, UM_PER_PX, spacing_um=24.0, diameter_um=12.0)
    measures = measure_tile(expose(np.zeros(TILE, np.float32), nuclei), STAIN)
    assert measures.leukocytes == pytest.approx(np.mean(nuclei > 0.5), rel=0.1)
    assert measures.coverage == pytest.approx(np.mean(nuclei > 0.3), rel=0.1)
    assert measures.layers < 0.05


def test_a_tile_that_is_all_leukocyte_has_no_red_cell_layers() -> None:
    measures = measure_tile(expose(np.zeros(TILE, np.float32), np.ones(TILE, np.float32)), STAIN)
    assert measures.leukocytes == 1.0
    assert measures.layers == 0.0


def test_squares_without_cells_are_bare() -> None:
    cells = np.zeros((96, 64), np.float32)
    cells[40:50, 10:20] = 1
    bare = find_bare(expose(cells), STAIN, 32)
    assert bare.tolist() == [[True, True], [False, True], [True, True]]


def test_a_last_square_that_is_cut_off_is_judged_by_what_there_is() -> None:
    cells = np.zeros((40, 33), np.float32)
    cells[35:40, 30:33] = 1
    assert find_bare(expose(cells), STAIN, 32).tolist() == [[True, True], [True, True]]
    cells[33:40, 20:33] = 1
    assert find_bare(expose(cells), STAIN, 32).tolist() == [[True, True], [False, True]]
