from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.exports.palette import MARKER_COLOURS, Marker
from tests.builders import ArraySlide
from worker.overview import MAX_EDGE_PX, UNREADABLE, render_overview
from worker.region import CountableRegion
from worker.slide.geometry import Region, Size

PINK = (230, 200, 210)


def slide_of(width: int, height: int, **options: object) -> ArraySlide:
    pixels = np.full((height, width, 3), PINK, np.uint8)
    return ArraySlide(pixels, 0.25, **options)  # type: ignore[arg-type]


def whole(slide: ArraySlide) -> CountableRegion:
    return CountableRegion.whole(slide.info.size, 100)


def draw(
    slide: ArraySlide,
    region: CountableRegion | None = None,
    points: tuple[tuple[float, float, Marker], ...] = (),
) -> NDArray[np.int_]:
    jpeg = render_overview(slide, region or whole(slide), points)
    return np.asarray(Image.open(BytesIO(jpeg))).astype(int)


def near(pixel: NDArray[np.int_], colour: tuple[int, ...], tolerance: int = 25) -> bool:
    return bool((abs(pixel - np.array(colour)) <= tolerance).all())


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((2400, 1200), (1200, 600)),
        ((600, 2400), (300, 1200)),
        ((MAX_EDGE_PX, 30), (MAX_EDGE_PX, 30)),
        ((MAX_EDGE_PX + 1, 30), (MAX_EDGE_PX, 30)),
        ((7, 5), (7, 5)),
    ],
)
def test_the_picture_is_bounded_and_never_enlarged(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert draw(slide_of(*size)).shape == (drawn[1], drawn[0], 3)


def test_the_counted_region_keeps_its_colour_and_the_rest_fades() -> None:
    slide = slide_of(800, 400)
    mask = np.zeros((4, 8), np.bool_)
    mask[:, :4] = True
    picture = draw(slide, CountableRegion(Size(800, 400), 100, mask))
    assert near(picture[200, 200], PINK, 4)
    assert (picture[200, 600] > picture[200, 200] + 8).all()


def test_the_region_is_outlined() -> None:
    slide = slide_of(800, 400)
    mask = np.zeros((4, 8), np.bool_)
    mask[1:3, 2:6] = True
    picture = draw(slide, CountableRegion(Size(800, 400), 100, mask))
    assert near(picture[200, 200], (0, 0, 0), 60)
    assert near(picture[100, 400], (0, 0, 0), 60)


@pytest.mark.parametrize("marker", list(Marker))
def test_a_cell_is_marked_at_its_centre_in_its_groups_colour(marker: Marker) -> None:
    picture = draw(slide_of(2400, 1200), points=((1000.0, 600.0, marker),))
    assert near(picture[300, 500], MARKER_COLOURS[marker])
    assert near(picture[300, 530], PINK, 6)


def test_a_blast_is_drawn_over_a_neutrophil_whatever_the_order() -> None:
    points = ((100.0, 100.0, Marker.BLAST), (100.0, 100.0, Marker.OTHER))
    assert near(draw(slide_of(300, 300), points=points)[100, 100], MARKER_COLOURS[Marker.BLAST])


def test_a_cell_at_the_edge_is_drawn_as_far_as_it_is_on_the_slide() -> None:
    picture = draw(slide_of(300, 300), points=((0.0, 0.0, Marker.BLAST),))
    assert near(picture[2, 2], MARKER_COLOURS[Marker.BLAST], 60)


def test_what_cannot_be_read_is_grey_and_the_rest_is_drawn() -> None:
    slide = slide_of(4800, 4800, damage=(Region(0, 0, 10, 10),))
    picture = draw(slide)
    assert near(picture[200, 200], UNREADABLE, 6)
    assert near(picture[1100, 1100], PINK, 6)


def test_one_read_touches_a_bounded_part_of_a_slide_without_coarse_levels() -> None:
    areas: list[float] = []

    class Watched(ArraySlide):
        def read(self, region: Region, um_per_px: float) -> NDArray[np.uint8]:
            areas.append(region.width * region.height)
            return super().read(region, um_per_px)

    render_overview(
        Watched(np.full((300, 9000, 3), 255, np.uint8), 0.25),
        CountableRegion.whole(Size(9000, 300), 100),
        (),
    )
    assert len(areas) > 1
    assert max(areas) <= 4100 * 300
