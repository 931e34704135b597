import numpy as np
import pytest
from skimage.measure import points_in_poly

from worker.demo.smear import Smear
from worker.demo.truth import Zone


@pytest.fixture
def smear() -> Smear:
    return Smear(1600.0, 1000.0, seed=11)


def polygon_area(polygon: tuple[tuple[float, float], ...]) -> float:
    x, y = np.array(polygon).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def test_the_regions_tile_the_slide(smear: Smear) -> None:
    regions = smear.regions(um_per_px=0.5)
    total = sum(polygon_area(region.polygon) for region in regions)
    assert total == pytest.approx(3200 * 2000, rel=1e-4)


def test_a_point_lies_in_the_polygon_of_its_zone(smear: Smear) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((0, 0), (1600, 1000), (400, 2))
    zones = smear.zones(points[:, 0], points[:, 1])
    regions = smear.regions(um_per_px=1.0)
    agree = 0
    for point, zone in zip(points, zones, strict=True):
        inside = [r.kind for r in regions if points_in_poly([point], r.polygon)[0]]
        agree += inside == [zone]
    assert agree >= 396  # polygon sides are straight between samples of a curved border


def test_there_is_no_blood_on_bare_glass(smear: Smear) -> None:
    y = np.linspace(0, 1000, 50)
    assert (smear.coverage(np.full(50, 2.0), y) == 0).all()
    assert (smear.coverage(np.full(50, 1598.0), y) == 0).all()


def test_blood_thins_from_the_thick_end_to_the_tail(smear: Smear) -> None:
    y = np.linspace(0, 1000, 200)
    means = [smear.coverage(np.full(200, x), y).mean() for x in (100.0, 400.0, 1200.0, 1420.0)]
    assert means == sorted(means, reverse=True)


def test_cells_barely_cover_half_of_the_monolayer(smear: Smear) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform((0, 0), (1600, 1000), (4000, 2))
    zones = np.array(smear.zones(points[:, 0], points[:, 1]))
    layer = points[zones == Zone.MONOLAYER]
    assert 0.4 < smear.coverage(layer[:, 0], layer[:, 1]).mean() < 0.6


def test_seeds_move_the_borders() -> None:
    y = np.linspace(0, 1000, 20)
    assert not np.allclose(Smear(1600, 1000, 1).borders_um(y), Smear(1600, 1000, 2).borders_um(y))
