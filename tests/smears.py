"""Painted smears: red cells and leukocytes at known places."""

import numpy as np
from numpy.typing import NDArray

RED_CELL_UM = 7.2
LEUKOCYTE_UM = 14.0
NUCLEUS_UM = 9.5
RED_CELL_DENSITY = (0.25, 0.55, 0.4)
"""In red, green and blue light."""


def paint_field(
    height: int,
    width: int,
    um_per_px: float,
    *,
    glass: tuple[int, int, int] = (250, 250, 250),
    leukocytes: list[tuple[float, float]] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.uint8], list[tuple[float, float]]]:
    """A field with red cells everywhere and leukocytes at given centres.

    Args:
        height: px.
        width: px.
        um_per_px: of the field.
        glass: RGB.
        leukocytes: centres (x, y), px; default two rows of two.
        seed: of the red cells' places.

    Returns:
        RGB, shape (height, width, 3), and the leukocytes' centres.
    """
    rng = np.random.default_rng(seed)
    if leukocytes is None:
        leukocytes = [(fx * width, fy * height) for fy in (0.3, 0.7) for fx in (0.3, 0.7)]
    density = np.zeros((height, width, 3), np.float32)
    for y in np.arange(5.0, height * um_per_px, 11.0):
        for x in np.arange(5.0, width * um_per_px, 11.0):
            at_x, at_y = x + rng.uniform(-1.5, 1.5), y + rng.uniform(-1.5, 1.5)
            centre = at_x / um_per_px, at_y / um_per_px
            if all(
                np.hypot(centre[0] - cx, centre[1] - cy) * um_per_px > 12 for cx, cy in leukocytes
            ):
                _disc(density, centre, RED_CELL_UM / um_per_px, RED_CELL_DENSITY, pallor=0.5)
    for centre in leukocytes:
        _disc(density, centre, LEUKOCYTE_UM / um_per_px, (0.3, 0.4, 0.15))
        _disc(density, centre, NUCLEUS_UM / um_per_px, (0.9, 1.3, 0.45))
    grain = rng.normal(0.0, 0.02, (height, width, 1)).astype(np.float32)
    rgb = np.exp(-density - grain * (density > 0.05)) * np.array(glass, np.float32)
    return np.clip(rgb, 0, 255).round().astype(np.uint8), leukocytes


def _disc(
    density: NDArray[np.float32],
    centre: tuple[float, float],
    diameter_px: float,
    colour: tuple[float, float, float],
    pallor: float = 0.0,
) -> None:
    """Paint a disc with a soft rim, in place; `pallor` is how much fainter its middle is."""
    height, width = density.shape[:2]
    reach = diameter_px / 2 + 2
    x, y = centre
    y0, y1 = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    x0, x1 = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    if y0 >= y1 or x0 >= x1:
        return
    rows, cols = np.ogrid[y0:y1, x0:x1]
    away = np.hypot(cols + 0.5 - x, rows + 0.5 - y)
    cover = np.clip(diameter_px / 2 - away + 0.5, 0.0, 1.0)
    cover *= 1.0 - pallor * np.exp(-((away / (0.22 * diameter_px)) ** 2))
    window = density[y0:y1, x0:x1]
    np.maximum(window, cover[..., None] * np.array(colour), out=window)
