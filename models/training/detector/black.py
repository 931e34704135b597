"""Black that is no cell: eyepiece surrounds, stitching borders, ink, dust, scale bars."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Shade = NDArray[np.float32]

SURROUND_CHANCE: Final = 0.14
BORDER_CHANCE: Final = 0.06
BLOB_CHANCE: Final = 0.12


def draw_black(height: int, width: int, um_per_px: float, rng: np.random.Generator) -> Shade | None:
    """Opacity of what blocks the light, or None where nothing does.

    A surround is the outside of a large circle, a border a half plane, both soft or sharp; blobs
    are ellipses of 1 to 12 µm and bars.

    Args:
        height: of the canvas, px.
        width: of the canvas, px.
        um_per_px: of the canvas.
        rng: what and where.

    Returns:
        Shape (height, width), 0 to 1.
    """
    rows, cols = np.ogrid[:height, :width]
    beyond = None
    chance = rng.random()
    if chance < SURROUND_CHANCE:
        radius, angle = rng.uniform(40.0, 400.0), rng.uniform(0.0, 2 * np.pi)
        away = radius + rng.uniform(-0.45, 0.45) * min(height, width)
        y, x = height / 2 + away * np.sin(angle), width / 2 + away * np.cos(angle)
        beyond = np.hypot(rows - y, cols - x) - radius
    elif chance < SURROUND_CHANCE + BORDER_CHANCE:
        angle = rng.integers(4) * np.pi / 2 + rng.normal(0.0, 0.02)
        along = np.cos(angle) * (cols - width / 2) + np.sin(angle) * (rows - height / 2)
        beyond = along - rng.uniform(-0.3, 0.49) * min(height, width)
    elif chance < SURROUND_CHANCE + BORDER_CHANCE + BLOB_CHANCE:
        beyond = np.full((height, width), np.inf)
        for _ in range(int(rng.integers(1, 4))):
            long_px, short_px = np.exp(rng.uniform(np.log(0.5), np.log(6.0), 2)) / um_per_px
            long_px *= 8.0 if rng.random() < 0.2 else 1.0
            angle, at = rng.uniform(0.0, np.pi), rng.uniform(0.0, 1.0, 2) * (height, width)
            u = (cols - at[1]) * np.cos(angle) + (rows - at[0]) * np.sin(angle)
            v = (rows - at[0]) * np.cos(angle) - (cols - at[1]) * np.sin(angle)
            edge = (np.hypot(u / long_px, v / short_px) - 1.0) * min(long_px, short_px)
            beyond = np.minimum(beyond, edge)
        return _soften(-beyond, rng.uniform(0.3, 1.5), rng.uniform(0.7, 1.0))
    if beyond is None:
        return None
    return _soften(beyond, float(np.exp(rng.uniform(np.log(0.3), np.log(12.0)))), 1.0)


def _soften(beyond: NDArray[np.float64], softness_px: float, depth: float) -> Shade:
    steep = np.clip(beyond / softness_px, -30.0, 30.0)
    shade: Shade = (depth / (1.0 + np.exp(-steep))).astype(np.float32)
    return shade
