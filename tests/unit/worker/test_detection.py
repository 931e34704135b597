from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.background import estimate_background
from models.detector import Detector
from models.red_cell import estimate_red_cell
from service.contract.failure import SlideError
from tests.builders import ArraySlide
from tests.smears import RED_CELL_DENSITY, paint_field
from worker.detection import Detections, detect_leukocytes, plan_tiles
from worker.region import CountableRegion
from worker.slide.geometry import Region, Size

UM_PER_PX_L0 = 0.29
CORE_PX = 128
CORE_L0 = CORE_PX * 0.58 / UM_PER_PX_L0
SIZE = Size(900, 600)
CELLS = [
    (120.0, 120.0),
    (CORE_L0, 300.0),
    (2 * CORE_L0, 2 * CORE_L0),
    (300.0, 450.0),
    (700.0, 150.0),
    (760.0, 420.0),
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return paint_field(SIZE.height, SIZE.width, UM_PER_PX_L0, leukocytes=CELLS)[0]


@pytest.fixture(scope="module")
def slide(pixels) -> ArraySlide:
    return ArraySlide(pixels, UM_PER_PX_L0)


def whole() -> CountableRegion:
    return CountableRegion.whole(SIZE, 50.0)


def detect(slide, region, detector, **options) -> Detections:
    stain = {"background": np.array([250.0, 250.0, 250.0]), "red_cell": np.array(RED_CELL_DENSITY)}
    return detect_leukocytes(slide, region, detector, **{"core_px": CORE_PX, **stain, **options})


@pytest.fixture(scope="module")
def sound(slide, detector) -> Detections:
    """Cells of the undamaged slide, all of it countable."""
    return detect(slide, whole(), detector)


def test_every_planted_cell_is_found_once_at_its_place(sound):
    assert len(sound.cells) == len(CELLS)
    for x, y in CELLS:
        assert min(np.hypot(cell.x_px - x, cell.y_px - y) for cell in sound.cells) < 6.0


def test_cells_come_sorted_by_y_then_x(sound):
    assert list(sound.cells) == sorted(sound.cells, key=lambda cell: (cell.y_px, cell.x_px))


@pytest.mark.parametrize("grid_shift", [(8, 0), (64, 64), (-24, 104)])
def test_moving_the_tile_grid_does_not_move_a_cell(slide, detector, sound, grid_shift):
    still = sound.cells
    moved = detect(slide, whole(), detector, grid_shift=grid_shift).cells
    assert len(moved) == len(still)
    for one, other in zip(still, moved, strict=True):
        assert other.x_px == pytest.approx(one.x_px, abs=1e-3)
        assert other.y_px == pytest.approx(one.y_px, abs=1e-3)
        assert other.diameter_um == pytest.approx(one.diameter_um, abs=1e-3)
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert other.edge == one.edge


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_cells(
    slide, detector, sound, threads, torch_threads
):
    torch_threads(threads)
    found = detect(slide, whole(), detector).cells
    assert len(found) == len(sound.cells)
    for one, other in zip(sound.cells, found, strict=True):
        place = (other.x_px, other.y_px, other.diameter_um)
        assert place == pytest.approx((one.x_px, one.y_px, one.diameter_um), abs=1e-3)
        assert other.score == pytest.approx(one.score, abs=1e-4)


def test_the_core_size_does_not_change_the_cells(slide, detector, sound):
    large = detect(slide, whole(), detector, core_px=512).cells
    assert [(cell.x_px, cell.y_px) for cell in large] == [
        pytest.approx((cell.x_px, cell.y_px), abs=1e-3) for cell in sound.cells
    ]


def test_a_grid_off_the_network_stride_is_refused(slide, detector):
    with pytest.raises(ValueError, match="stride"):
        detect(slide, whole(), detector, grid_shift=(4, 0))


def test_what_is_below_the_threshold_is_counted_and_is_no_cell(slide, detector, sound):
    scores = sorted(cell.score for cell in sound.cells)
    halfway = (scores[1] + scores[2]) / 2
    card = detector.card.model_copy(update={"threshold": halfway, "doubtful": scores[0] - 0.01})
    found = detect(slide, whole(), SimpleNamespace(card=card, detect=detector.detect))
    assert sorted(cell.score for cell in found.cells) == pytest.approx(scores[2:], abs=1e-6)
    assert [one.score for one in found.doubtful] == pytest.approx(scores[1::-1], abs=1e-6)
    assert sound.doubtful == ()
    mask = np.zeros((12, 18), bool)
    left = detect(slide, CountableRegion(SIZE, 50.0, mask), detector)
    assert (left.doubtful, left.cells) == ((), ())


def test_cells_outside_the_region_are_dropped(slide, detector):
    mask = np.zeros((12, 18), bool)
    mask[:, :9] = True
    found = detect(slide, CountableRegion(SIZE, 50.0, mask), detector).cells
    expected = sorted(y for x, y in CELLS if x < 450)
    assert [cell.y_px for cell in found] == pytest.approx(expected, abs=6.0)


def test_a_cell_cut_by_the_region_is_flagged_and_one_inside_is_not(slide, detector):
    mask = np.zeros((12, 18), bool)
    mask[:, :14] = True
    mask[:2] = False
    found = detect(slide, CountableRegion(SIZE, 50.0, mask), detector).cells
    edges = {(round(cell.x_px, -1), round(cell.y_px, -1)): cell.edge for cell in found}
    assert edges[(120, 120)]
    assert not edges[(300, 450)]


def test_a_cell_cut_by_the_slide_is_flagged(detector):
    pixels, _ = paint_field(300, 300, UM_PER_PX_L0, leukocytes=[(150.0, 12.0), (150.0, 200.0)])
    slide = ArraySlide(pixels, UM_PER_PX_L0)
    region = CountableRegion.whole(Size(300, 300), 50.0)
    found = detect(slide, region, detector).cells
    assert [cell.edge for cell in found] == [True, False]


def test_an_unreadable_tile_is_skipped_counted_and_taken_off_the_coverage(pixels, detector, sound):
    damaged = ArraySlide(pixels, UM_PER_PX_L0, damage=(Region(880.0, 580.0, 10.0, 10.0),))
    found = detect(damaged, whole(), detector)
    assert (sound.tiles_failed, sound.coverage) == (0, 1.0)
    assert found.tiles == sound.tiles
    assert 0 < found.tiles_failed < found.tiles
    assert found.cells[0] == sound.cells[0]
    unread = [
        tile.core_l0(2.0)
        for tile in plan_tiles(whole(), 2.0, core_px=CORE_PX)
        if tile.window_l0(2.0, detector.card.margin_px).right > 880
        and tile.window_l0(2.0, detector.card.margin_px).bottom > 580
    ]
    area_px = sum((min(r.right, 900) - r.x) * (min(r.bottom, 600) - r.y) for r in unread)
    assert found.tiles_failed == len(unread)
    assert found.unread_mm2 == pytest.approx(area_px * UM_PER_PX_L0**2 / 1e6)


def test_a_slide_that_cannot_be_read_at_all_has_no_cells_and_no_coverage(pixels, detector):
    damaged = ArraySlide(pixels, UM_PER_PX_L0, damage=(Region(0.0, 0.0, 900.0, 600.0),))
    found = detect(damaged, whole(), detector)
    assert found.cells == ()
    assert found.coverage == pytest.approx(0.0)


def test_an_empty_region_has_no_tiles_and_is_fully_covered(slide, detector):
    found = detect(slide, CountableRegion(SIZE, 50.0, np.zeros((12, 18), bool)), detector)
    assert (found.cells, found.tiles, found.coverage) == ((), 0, 1.0)


def test_progress_ends_at_the_number_of_tiles_and_never_falls(slide, detector, sound):
    heard: list[tuple[int, int]] = []
    detect(slide, whole(), detector, on_progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (sound.tiles, sound.tiles)
    assert heard == sorted(heard)


def test_an_error_raised_by_the_progress_listener_ends_the_detection(slide, detector):
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect(slide, whole(), detector, on_progress=cancel)


def test_an_error_that_is_not_about_one_region_ends_the_detection(slide, detector):
    class Gone(ArraySlide):
        def read(self, region, um_per_px):
            raise SlideError("slide_unreadable", "the file vanished")

    with pytest.raises(SlideError):
        detect(Gone(np.zeros((600, 900, 3), np.uint8), UM_PER_PX_L0), whole(), detector)


def test_of_a_large_unreadable_tile_the_readable_quarters_are_kept(detector):
    size = Size(1280, 1280)
    planted = [(300.0, 300.0), (1100.0, 1100.0)]
    pixels, _ = paint_field(1280, 1280, UM_PER_PX_L0, leukocytes=planted)
    slide = ArraySlide(pixels, UM_PER_PX_L0, damage=(Region(1180.0, 20.0, 4.0, 4.0),))
    found = detect(slide, CountableRegion.whole(size, 64.0), detector, core_px=640)
    assert [round(cell.x_px, -2) for cell in found.cells] == [300, 1100]
    assert (found.tiles, found.tiles_failed) == (1, 1)
    assert found.coverage == pytest.approx(15 / 16)


def test_a_slide_coarser_than_the_detector_is_read_up(detector):
    pixels, cells = paint_field(200, 200, 0.8)
    slide = ArraySlide(pixels, 0.8)
    found = detect(slide, CountableRegion.whole(Size(200, 200), 50.0), detector).cells
    assert len(found) == len(cells)


def test_the_estimated_glass_and_red_cell_serve(slide, pixels, detector):
    background = estimate_background(pixels)
    red_cell = estimate_red_cell(pixels, background)
    found = detect(slide, whole(), detector, background=background, red_cell=red_cell)
    assert len(found.cells) == len(CELLS)
