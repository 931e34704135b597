import numpy as np

from worker.slide.geometry import Region, Size
from worker.slide.pyramid import TiledLevel
from worker.slide.read_plan import ReadPlan
from worker.slide.tile_cache import TileKey
from worker.slide.window import Window

LEVEL = TiledLevel(Size(2000, 1900), 2.0, Size(256, 256))
"""8 columns and 8 rows of tiles, the last 108 px high; 512 px wide in the level-0 frame."""


def plan_for(regions: list[Region]) -> ReadPlan:
    return ReadPlan([Window.around(region, LEVEL).needs(0, LEVEL) for region in regions])


def test_a_tile_is_needed_down_to_the_lowest_px_of_any_region() -> None:
    high, low = Region(10, 10, 20, 60), Region(300, 10, 20, 200)
    assert plan_for([high]).px_rows(TileKey(0, 0, 0)) == 35 + 1
    for order in ([high, low], [low, high]):
        assert plan_for(order).px_rows(TileKey(0, 0, 0)) == 105 + 1


def test_a_tile_that_a_region_leaves_at_its_lower_edge_is_needed_whole() -> None:
    plan = plan_for([Region(10, 10, 20, 600)])
    assert plan.px_rows(TileKey(0, 0, 0)) == 256
    assert plan.px_rows(TileKey(0, 0, 1)) == 305 + 1 - 256


def test_of_the_last_row_of_tiles_no_more_is_needed_than_lies_on_the_slide() -> None:
    plan = plan_for([Region(10, 3700, 20, 900)])
    assert plan.px_rows(TileKey(0, 0, 7)) == 1900 - 7 * 256


def test_nothing_is_needed_of_a_tile_that_no_region_touches() -> None:
    assert plan_for([Region(10, 10, 20, 20)]).px_rows(TileKey(0, 5, 5)) == 0


def test_runs_hold_every_region_once_and_neighbours_together() -> None:
    corners = np.random.default_rng(0).integers(0, 3500, (300, 2)).tolist()
    regions = [Region(x, y, 100, 100) for x, y in corners]
    runs = list(plan_for(regions).runs(7))
    assert sorted(index for run in runs for index in run) == list(range(300))
    assert [len(run) for run in runs] == [7] * 42 + [6]
    rows = [max(0, corners[index][1] // 2 - 1) // 256 for run in runs for index in run]
    assert rows == sorted(rows)


def test_a_tile_is_of_no_more_use_when_its_last_region_is_read() -> None:
    plan = plan_for([Region(10, 10, 20, 20), Region(30, 30, 600, 20)])
    assert plan.finish([0]) == []
    assert sorted(plan.finish([1])) == [TileKey(0, 0, 0), TileKey(0, 1, 0)]
