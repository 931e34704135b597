"""Pixels as optical density relative to the slide's glass, in units of its red cells if asked.

A cell then looks the same on cream, grey or greenish glass, pale or dark, and padding beyond a
slide (white, or the zero padding of a convolution) looks like glass.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_DENSITY: Final = 3.0
"""Natural-log density at which values are cut: 5 % transmission, darker than a stained nucleus."""

MAX_RELATIVE: Final = 6.0
"""Density at which values are cut in units of a red cell; nuclei have 2 to 5."""


def density_table(background: NDArray[np.floating]) -> NDArray[np.float32]:
    """Optical density of each 8-bit value: -ln((value + 1) / (background + 1)), 0 to MAX_DENSITY.

    Args:
        background: RGB of the glass, shape (3,), 0–255.

    Returns:
        Shape (3, 256): one row a channel.
    """
    values = np.arange(256, dtype=np.float64) + 1.0
    density = np.log(np.asarray(background, dtype=np.float64)[:, None] + 1.0) - np.log(values)
    table: NDArray[np.float32] = np.clip(density, 0.0, MAX_DENSITY).astype(np.float32)
    return table


def optical_density(
    rgb: NDArray[np.uint8], background: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Pixels as optical density relative to the glass, channels first.

    Args:
        rgb: shape (..., height, width, 3), 0–255.
        background: RGB of the glass, shape (3,), 0–255.

    Returns:
        Shape (..., 3, height, width), 0 (glass) to MAX_DENSITY.
    """
    return _look_up(rgb, density_table(background))


def relative_density(
    rgb: NDArray[np.uint8], background: NDArray[np.floating], red_cell: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Pixels as optical density in units of a red cell, each channel on its own, channels first.

    Args:
        rgb: shape (..., height, width, 3), 0–255.
        background: RGB of the glass, shape (3,), 0–255.
        red_cell: density of the slide's red cells, shape (3,), natural log, above 0.

    Returns:
        Shape (..., 3, height, width), 0 (glass) to MAX_RELATIVE; a red cell is (1, 1, 1).
    """
    table = density_table(background) / np.asarray(red_cell, np.float64)[:, None]
    return _look_up(rgb, np.minimum(table, MAX_RELATIVE).astype(np.float32))


def _look_up(rgb: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([np.take(row, rgb[..., i]) for i, row in enumerate(table)], axis=-3)
