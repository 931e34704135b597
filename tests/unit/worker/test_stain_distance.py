import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import StainReference
from worker.stain_distance import FEATURES, MIN_CELLS, compare_stain, measure_colours

PALE = StainReference(
    mean=(4.71, 4.02, 4.90, 5.54, 5.44, 5.32), spread=(0.17, 0.25, 0.06, 0.03, 0.03, 0.03)
)
DARK = StainReference(
    mean=(4.56, 3.81, 4.94, 5.54, 5.44, 5.32), spread=(0.19, 0.35, 0.05, 0.03, 0.03, 0.03)
)
MEANS, SPREADS = np.array(DARK.mean), np.array(DARK.spread)


def cells(shift: NDArray[np.float64] | float = 0.0, n: int = MIN_CELLS) -> NDArray[np.float64]:
    return np.tile(MEANS + shift, (n, 1))


def test_colours_are_those_of_the_dark_and_the_light_part_of_a_patch() -> None:
    patch = np.full((400, 400, 3), (250, 230, 200), np.uint8)
    patch[150:250, 150:300] = (90, 40, 140)
    dark, light = measure_colours(patch).reshape(2, 3)
    assert np.exp(dark) - 1 == pytest.approx([90, 40, 140])
    assert np.exp(light) - 1 == pytest.approx([250, 230, 200])


def test_training_data_are_no_distance_away() -> None:
    distance = compare_stain(cells(), [PALE, DARK])
    assert distance is not None
    assert distance.spreads == pytest.approx(0)


@pytest.mark.parametrize("feature", range(len(FEATURES)))
def test_the_feature_that_differs_most_is_named_with_its_grey_levels(feature: int) -> None:
    shift = np.zeros(len(FEATURES))
    shift[feature] = -5 * SPREADS[feature]
    distance = compare_stain(cells(shift), [DARK])
    assert distance is not None
    assert distance.feature == FEATURES[feature]
    assert distance.spreads == pytest.approx(5)
    assert distance.grey_level < distance.reference_level


def test_the_nearest_source_counts_and_without_a_reference_there_is_no_distance() -> None:
    far, near, unknown = (compare_stain(cells(), sources) for sources in ([PALE], [PALE, DARK], []))
    assert far is not None and near is not None
    assert far.spreads > near.spreads
    assert unknown is None


def test_a_few_odd_cells_do_not_move_a_slide() -> None:
    colours = cells(n=30)
    colours[:10] = 0
    distance = compare_stain(colours, [DARK])
    assert distance is not None and distance.spreads == pytest.approx(0)


@pytest.mark.parametrize("measured", [MIN_CELLS - 1, MIN_CELLS])
def test_too_few_measured_cells_say_nothing_about_a_stain(measured: int) -> None:
    colours = cells(n=50)
    colours[measured:] = np.nan
    assert (compare_stain(colours, [DARK]) is None) == (measured < MIN_CELLS)
