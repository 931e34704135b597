import numpy as np
import pytest
from numpy.typing import NDArray

from models.background import estimate_background

GLASS = np.array([238, 226, 212])
CELL = np.array([180, 120, 130])


def paint_field(
    covered: float, *, glass: NDArray[np.int_] = GLASS, seed: int = 0
) -> NDArray[np.uint8]:
    """A field whose upper part is cells and whose rest is glass, both with camera noise."""
    rng = np.random.default_rng(seed)
    field = np.broadcast_to(glass, (200, 200, 3)).copy()
    field[: round(200 * covered)] = CELL
    return np.clip(field + rng.normal(0, 2, field.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("covered", [0.0, 0.02, 0.5, 0.9])
def test_the_glass_is_found_however_much_of_the_field_cells_cover(covered: float) -> None:
    assert estimate_background(paint_field(covered)) == pytest.approx(GLASS, abs=1.5)


def test_a_dim_greenish_glass_is_found() -> None:
    dimmed = (paint_field(0.4) * np.array([0.45, 0.6, 0.65])).astype(np.uint8)
    assert estimate_background(dimmed) == pytest.approx(GLASS * [0.45, 0.6, 0.65], abs=1.5)


def test_glare_brighter_than_the_glass_is_not_the_glass() -> None:
    field = paint_field(0.5)
    field[-2:] = 252
    assert estimate_background(field) == pytest.approx(GLASS, abs=1.5)


def test_white_padding_is_not_the_glass() -> None:
    field = paint_field(0.5)
    field[:, :150] = 255
    assert estimate_background(field) == pytest.approx(GLASS, abs=1.5)


def test_saturated_glass_is_white() -> None:
    field = paint_field(0.5, glass=np.array([256, 256, 256]))
    assert estimate_background(field) == pytest.approx(np.array([255, 255, 255]), abs=2)


def test_a_white_field_has_white_glass() -> None:
    assert estimate_background(np.full((4, 4, 3), 255, np.uint8)).tolist() == [255, 255, 255]


def test_the_result_does_not_depend_on_how_pixels_are_arranged() -> None:
    field = paint_field(0.5)
    assert (estimate_background(field) == estimate_background(field.reshape(-1, 3))).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_what_is_not_an_rgb_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="RGB image"):
        estimate_background(np.zeros(shape, np.uint8))
