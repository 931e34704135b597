import numpy as np
import pytest
from scipy.spatial import cKDTree

from worker.demo.atlas import RED_CELL_UM, Atlas, load_atlas
from worker.demo.layout import BLOCK_UM, LEUKOCYTE_CLEARANCE, Layout
from worker.demo.population import Leukocytes, plant_leukocytes
from worker.demo.smear import Smear
from worker.demo.stain import MAY_GRUNWALD_GIEMSA

SMEAR = Smear(1500, 900, 4)
COLUMNS, ROWS = range(10), range(6)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return load_atlas(MAY_GRUNWALD_GIEMSA, 0.5)


@pytest.fixture(scope="module")
def cells() -> Leukocytes:
    return plant_leukocytes(SMEAR, 4, 40, 0.05)


def red_cells(layout: Layout, atlas: Atlas, columns: range) -> np.ndarray:
    blocks = [layout.block(column, row) for row in ROWS for column in columns]
    return np.concatenate(
        [block.centres_um[block.sprites < atlas.platelets.start] for block in blocks]
    )


def test_a_block_is_the_same_whatever_was_asked_before(atlas: Atlas, cells: Leukocytes) -> None:
    first, second = (Layout(SMEAR, cells, atlas, 4) for _ in range(2))
    for column in reversed(COLUMNS):
        second.block(column, 2)
    assert np.array_equal(first.block(4, 2).centres_um, second.block(4, 2).centres_um)
    assert np.array_equal(first.block(4, 2).sprites, second.block(4, 2).sprites)


def test_red_cells_of_the_monolayer_mostly_lie_side_by_side(
    atlas: Atlas, cells: Leukocytes
) -> None:
    layer = red_cells(Layout(SMEAR, cells, atlas, 4), atlas, range(4, 7))
    nearest = cKDTree(layer).query(layer, k=2)[0][:, 1]
    assert np.mean(nearest > 0.75 * RED_CELL_UM) > 0.7


def test_red_cells_pile_up_in_the_thick_end(atlas: Atlas, cells: Leukocytes) -> None:
    layout = Layout(SMEAR, cells, atlas, 4)
    thick, layer = (red_cells(layout, atlas, range(n, n + 1)) for n in (1, 5))
    assert len(thick) > 1.7 * len(layer)


def test_red_cells_touch_leukocytes_but_do_not_lie_on_them(atlas: Atlas, cells: Leukocytes) -> None:
    tree = cKDTree(red_cells(Layout(SMEAR, cells, atlas, 4), atlas, COLUMNS))
    gaps = tree.query(cells.centres_um)[0] - LEUKOCYTE_CLEARANCE * cells.diameters_um / 2
    smallest_radius = atlas.radii_um[: atlas.platelets.start].min()
    assert np.mean(gaps > smallest_radius - 1e-6) > 0.9
    assert gaps.min() > 0.5 * smallest_radius  # one between two leukocytes may yield a little


def test_the_density_of_cells_is_the_coverage_asked_for(atlas: Atlas, cells: Leukocytes) -> None:
    columns = range(4, 7)
    reds = red_cells(Layout(SMEAR, cells, atlas, 4), atlas, columns)
    area = len(columns) * len(ROWS) * BLOCK_UM**2
    rng = np.random.default_rng(0)
    corner, far = (columns.start * BLOCK_UM, 0), (columns.stop * BLOCK_UM, 900)
    points = rng.uniform(corner, far, (4000, 2))
    wanted = SMEAR.coverage(points[:, 0], points[:, 1]).mean()
    assert len(reds) * np.pi / 4 * RED_CELL_UM**2 / area == pytest.approx(wanted, rel=0.1)


def test_every_sprite_fades_out_inside_its_frame(atlas: Atlas) -> None:
    for sprite in atlas.sprites:
        border = np.concatenate([sprite[0], sprite[-1], sprite[:, 0], sprite[:, -1]])
        assert border.max() < 0.12 * sprite.max()
