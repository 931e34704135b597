"""Pixels as optical density relative to the slide's glass.

A cell then looks the same on cream, grey or greenish glass, and padding beyond a slide (white, or
the zero padding of a convolution) looks like glass.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_DENSITY: Final = 3.0
"""Natural-log density at which values are cut: 5 % transmission, darker than a stained nucleus."""


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
    table = density_table(background)
    return np.stack([np.take(row, rgb[..., i]) for i, row in enumerate(table)], axis=-3)
