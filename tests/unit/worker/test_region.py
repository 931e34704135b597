from itertools import combinations

import numpy as np
import pytest

from worker.region import CountableRegion
from worker.slide.geometry import Region, Size

SLIDE = Size(25, 18)
"""At step 10 a grid of 2 rows and 3 columns, clipped on the right and below."""


def region(*rows: str) -> CountableRegion:
    mask = np.array([[cell == "#" for cell in row] for row in rows])
    return CountableRegion(SLIDE, 10.0, mask)


def test_a_point_on_the_left_edge_of_a_cell_is_inside_and_one_on_the_right_edge_is_not() -> None:
    middle = region(".#.", "...")
    assert middle.contains(10.0, 0.0)
    assert not middle.contains(20.0, 0.0)


def test_a_point_beyond_the_slide_is_not_countable_even_where_the_grid_reaches_further() -> None:
    whole = CountableRegion.whole(SLIDE, 10.0)
    assert whole.contains(24.9, 17.9)
    assert not whole.contains(25.0, 17.9)
    assert not whole.contains(24.9, 18.0)
    assert not whole.contains(-0.1, 5.0)


def test_the_last_point_before_the_edge_of_the_slide_is_inside_whatever_the_step() -> None:
    last = float(np.nextafter(10, 0))
    for parts in range(1, 60):
        assert CountableRegion.whole(Size(10, 10), 10 / parts).contains(last, last)


def test_a_rectangle_that_only_touches_a_countable_cell_does_not_intersect() -> None:
    middle = region(".#.", "...")
    assert not middle.intersects(Region(0, 0, 10, 10))
    assert middle.intersects(Region(0, 0, 10.1, 10))


def test_a_rectangle_partly_beyond_the_slide_intersects_by_the_part_on_it() -> None:
    corner = region("#..", "...")
    assert corner.intersects(Region(-50, -50, 51, 51))
    assert not corner.intersects(Region(-50, -50, 50, 50))


def test_a_rectangle_beyond_the_slide_intersects_nothing() -> None:
    assert not CountableRegion.whole(SLIDE, 10.0).intersects(Region(25, 0, 5, 5))


def test_the_whole_slide_is_one_rectangle_clipped_to_it() -> None:
    assert CountableRegion.whole(SLIDE, 10.0).rectangles() == (Region(0, 0, 25, 18),)


def test_an_empty_region_has_no_rectangles_and_no_area() -> None:
    empty = region("...", "...")
    assert empty.rectangles() == ()
    assert empty.area_mm2(1.0) == 0.0


def test_rectangles_are_disjoint_and_make_up_the_countable_part() -> None:
    rng = np.random.default_rng(7)
    countable = CountableRegion(Size(93, 71), 7.3, rng.random((10, 13)) < 0.5)
    rectangles = countable.rectangles()
    for one, other in combinations(rectangles, 2):
        assert (
            one.right <= other.x
            or other.right <= one.x
            or one.bottom <= other.y
            or other.bottom <= one.y
        )
    area_px = sum(r.width * r.height for r in rectangles)
    assert area_px / 1e6 == pytest.approx(countable.area_mm2(1.0))


def test_the_area_counts_clipped_cells_by_what_lies_on_the_slide() -> None:
    corner = region("...", "..#")
    assert corner.area_mm2(0.5) == pytest.approx(5 * 8 * 0.25 / 1e6)


def test_the_mask_cannot_be_changed_from_outside() -> None:
    mask = np.ones((2, 3), np.bool_)
    countable = CountableRegion(SLIDE, 10.0, mask)
    mask[:] = False
    assert countable.contains(5, 5)
    with pytest.raises(ValueError, match="read-only"):
        countable.mask[0, 0] = False


def test_a_mask_that_does_not_cover_the_slide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) expected"):
        CountableRegion(SLIDE, 10.0, np.ones((2, 2), np.bool_))


def test_a_step_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        CountableRegion.whole(SLIDE, 0.0)
