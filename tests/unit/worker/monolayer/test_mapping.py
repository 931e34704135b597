import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from service.contract.failure import AnalysisError, FailureCode
from tests.builders import GLASS, ArraySlide, expose, lay_cells
from worker.monolayer import MonolayerMap, Verdict, map_monolayer, read_stain
from worker.monolayer.grid import TILE_PX, UM_PER_PX
from worker.slide.geometry import Region

SHAPE = (3 * TILE_PX, 4 * TILE_PX)


@pytest.fixture(scope="module")
def single() -> NDArray[np.float32]:
    return lay_cells(SHAPE, UM_PER_PX, seed=1)


@pytest.fixture(scope="module")
def stacked() -> NDArray[np.float32]:
    return lay_cells(SHAPE, UM_PER_PX, sheets=5, seed=2)


def map_picture(picture: NDArray[np.uint8]) -> MonolayerMap:
    return map_monolayer(ArraySlide(picture, UM_PER_PX))


def blur(picture: NDArray[np.uint8], sigma_um: float) -> NDArray[np.uint8]:
    sigma = sigma_um / UM_PER_PX
    blurred: NDArray[np.uint8] = gaussian_filter(picture, (sigma, sigma, 0))
    return blurred


def expect_no_monolayer(picture: NDArray[np.uint8]) -> str:
    with pytest.raises(AnalysisError) as caught:
        map_picture(picture)
    assert caught.value.code is FailureCode.NO_MONOLAYER
    return caught.value.message


def test_a_single_layer_is_countable_everywhere(single: NDArray[np.float32]) -> None:
    found = map_picture(expose(single))
    assert found.counts[Verdict.MONOLAYER] == 12
    assert found.region.mask.all()
    assert found.area_mm2 == pytest.approx(SHAPE[0] * SHAPE[1] * UM_PER_PX**2 / 1e6)


def test_sparse_cells_are_countable() -> None:
    sparse = lay_cells(SHAPE, UM_PER_PX, spacing_um=20.0)
    assert map_picture(expose(sparse)).counts[Verdict.MONOLAYER] == 12


def test_a_slide_of_glass_has_no_monolayer_and_says_so() -> None:
    message = expect_no_monolayer(expose(np.zeros(SHAPE, np.float32)))
    assert "100 % glass" in message
    assert "--region all" in message


def test_a_blurred_slide_has_no_monolayer_and_says_so(single: NDArray[np.float32]) -> None:
    assert "100 % out of focus" in expect_no_monolayer(blur(expose(single), 2.0))


def test_a_thick_slide_has_no_monolayer_and_says_so(stacked: NDArray[np.float32]) -> None:
    assert "100 % thick" in expect_no_monolayer(expose(stacked))


def test_what_was_found_instead_is_listed_from_the_largest_share(
    stacked: NDArray[np.float32],
) -> None:
    stacked = stacked.copy()
    stacked[:, TILE_PX:] = 0
    message = expect_no_monolayer(expose(stacked))
    assert "12 tiles: 75 % glass, 25 % thick;" in message


@pytest.mark.parametrize("thick_tiles", [1, 3])
def test_a_thick_part_is_excluded_whether_small_or_large(
    single: NDArray[np.float32], stacked: NDArray[np.float32], thick_tiles: int
) -> None:
    cells = single.copy()
    cells[:, : thick_tiles * TILE_PX] = stacked[:, : thick_tiles * TILE_PX]
    verdicts = map_picture(expose(cells)).tiles["verdict"]
    assert (verdicts[:, :thick_tiles] == Verdict.THICK).all()
    assert (verdicts[:, thick_tiles:] == Verdict.MONOLAYER).all()


@pytest.mark.parametrize("blurred_tiles", [1, 3])
def test_a_blurred_part_is_excluded_whether_small_or_large(
    single: NDArray[np.float32], blurred_tiles: int
) -> None:
    picture = expose(single)
    edge = blurred_tiles * TILE_PX
    picture[:, :edge] = blur(picture[:, :edge], 1.5)
    verdicts = map_picture(picture).tiles["verdict"]
    assert (verdicts[:, :blurred_tiles] == Verdict.OUT_OF_FOCUS).all()
    assert (verdicts[:, blurred_tiles:] == Verdict.MONOLAYER).all()


@pytest.mark.parametrize("sigma_um", [2.0, 4.0])
def test_sparse_cells_far_out_of_focus_are_told_from_glass(sigma_um: float) -> None:
    sparse = lay_cells(SHAPE, UM_PER_PX, spacing_um=16.0)
    sparse[:, 2 * TILE_PX :] = 0
    picture = expose(sparse)
    picture[:, : 2 * TILE_PX] = blur(picture[:, : 2 * TILE_PX], sigma_um)
    with pytest.raises(AnalysisError) as caught:
        map_picture(picture)
    assert "50 % out of focus, 50 % glass" in caught.value.message


@pytest.mark.parametrize("falloff", [0.0, 0.05, 0.07])
def test_glass_where_the_lamp_falls_off_is_glass(
    single: NDArray[np.float32], falloff: float
) -> None:
    cells = single.copy()
    cells[:, 2 * TILE_PX :] = 0
    picture = expose(cells)
    edge = picture[:, -TILE_PX:]
    edge[:] = np.rint(edge * (1 - falloff))
    verdicts = map_picture(picture).tiles["verdict"]
    assert (verdicts[:, 2:] == Verdict.GLASS).all()
    assert (verdicts[:, :2] == Verdict.MONOLAYER).all()


def test_a_scratch_is_cut_out_of_the_tiles_it_crosses(single: NDArray[np.float32]) -> None:
    top, bottom = 250, 415
    scratched = single.copy()
    scratched[top:bottom] = 0
    found = map_picture(expose(scratched))
    assert found.counts[Verdict.MONOLAYER] == 12
    for x in (5, 450, 1000):
        assert not found.region.contains(x, (top + bottom) / 2)
        assert found.region.contains(x, top - 35)
        assert found.region.contains(x, bottom + 35)
    lost_mm2 = SHAPE[0] * SHAPE[1] * UM_PER_PX**2 / 1e6 - found.area_mm2
    assert lost_mm2 == pytest.approx((bottom - top) * SHAPE[1] * UM_PER_PX**2 / 1e6, rel=0.3)


def test_a_field_packed_with_blasts_is_countable(single: NDArray[np.float32]) -> None:
    blasts = lay_cells(SHAPE, UM_PER_PX, spacing_um=22.0, diameter_um=13.0, seed=3)
    found = map_picture(expose(single * (blasts < 0.5), blasts))
    assert found.counts[Verdict.MONOLAYER] == 12
    assert found.tiles["leukocytes"].min() > 0.2


@pytest.mark.parametrize(
    ("glass", "stain"),
    [
        pytest.param((248.0, 226.0, 205.0), 0.35, id="pale"),
        pytest.param((248.0, 226.0, 205.0), 1.4, id="deep"),
        pytest.param((107.0, 129.0, 144.0), 0.8, id="dim and blue"),
        pytest.param((170.0, 186.0, 168.0), 0.6, id="greenish"),
        pytest.param((255.0, 255.0, 255.0), 1.0, id="white"),
    ],
)
def test_stain_and_lamp_change_no_verdict(
    single: NDArray[np.float32],
    stacked: NDArray[np.float32],
    glass: tuple[float, float, float],
    stain: float,
) -> None:
    cells = single.copy()
    cells[:, :TILE_PX] = stacked[:, :TILE_PX]
    cells[:, -TILE_PX:] = 0
    expected = map_picture(expose(cells)).tiles["verdict"]
    assert set(np.unique(expected)) == {Verdict.THICK, Verdict.MONOLAYER, Verdict.GLASS}
    changed = map_picture(expose(cells, glass=glass, stain=stain)).tiles["verdict"]
    assert np.mean(changed == expected) >= 0.9


def test_an_unreadable_tile_is_counted_and_costs_no_other(single: NDArray[np.float32]) -> None:
    damage = Region(TILE_PX + 10, TILE_PX + 10, 20, 20)
    found = map_monolayer(ArraySlide(expose(single), UM_PER_PX, damage=(damage,)))
    assert found.tiles_failed == 1
    assert found.tiles["verdict"][1, 1] == Verdict.UNREADABLE
    assert np.isnan(found.tiles["score"][1, 1])
    assert found.counts[Verdict.MONOLAYER] == 11
    assert not found.region.contains(TILE_PX + 5, TILE_PX + 5)


def test_a_slide_of_which_nothing_can_be_decoded_is_unreadable(
    single: NDArray[np.float32],
) -> None:
    damage = Region(0, 0, SHAPE[1], SHAPE[0])
    with pytest.raises(AnalysisError) as caught:
        map_monolayer(ArraySlide(expose(single), UM_PER_PX, damage=(damage,)))
    assert caught.value.code is FailureCode.SLIDE_UNREADABLE


def test_the_result_does_not_depend_on_the_size_of_blocks(
    single: NDArray[np.float32], stacked: NDArray[np.float32]
) -> None:
    cells = single.copy()
    cells[:, :350] = stacked[:, :350]
    slide = ArraySlide(expose(cells)[:700, :950], UM_PER_PX)
    reference = map_monolayer(slide)
    for block_tiles in (1, 3):
        found = map_monolayer(slide, block_tiles=block_tiles)
        assert found.tiles.tobytes() == reference.tiles.tobytes()
        assert (found.region.mask == reference.region.mask).all()


def test_an_overview_saves_reading_glass_and_changes_no_verdict(
    single: NDArray[np.float32],
) -> None:
    cells = single.copy()
    cells[:, 2 * TILE_PX :] = 0
    picture = expose(cells)
    flat = map_picture(picture)
    pyramid = map_monolayer(ArraySlide(picture, UM_PER_PX, downsamples=(1.0, 4.0)))
    assert (pyramid.tiles["verdict"] == flat.tiles["verdict"]).all()
    assert (pyramid.tiles["layers"][:, 2:] == 0).all()
    assert (flat.tiles["layers"][:, 2:] > 0).all()


def test_an_unreadable_overview_costs_nothing_but_time(single: NDArray[np.float32]) -> None:
    slide = ArraySlide(
        expose(single),
        UM_PER_PX,
        downsamples=(1.0, 4.0),
        damage=(Region(TILE_PX + 10, 10, 20, 20),),
    )
    assert map_monolayer(slide).counts[Verdict.MONOLAYER] == 11


def test_verdicts_do_not_depend_on_the_resolution_of_the_slide() -> None:
    for um_per_px in (0.145, 0.25):
        shape = (round(446 / um_per_px), round(297 / um_per_px))
        found = map_monolayer(ArraySlide(expose(lay_cells(shape, um_per_px)), um_per_px))
        assert found.counts[Verdict.MONOLAYER] == found.tiles.size


def test_progress_ends_when_all_tiles_are_done(single: NDArray[np.float32]) -> None:
    seen: list[tuple[int, int]] = []
    slide = ArraySlide(expose(single), UM_PER_PX)
    map_monolayer(slide, on_progress=lambda done, total: seen.append((done, total)), block_tiles=2)
    assert seen == [(done, 12) for done in range(1, 13)]


def test_the_glass_of_a_slide_is_found_without_a_map(stacked: NDArray[np.float32]) -> None:
    cells = stacked.copy()
    cells[: SHAPE[0] // 3] = 0
    slide = ArraySlide(expose(cells), UM_PER_PX)
    assert read_stain(slide).background == pytest.approx(np.array(GLASS), abs=1.5)
