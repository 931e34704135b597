"""Saliency for the eye: scaled to a patch's own brightest pixels and painted over the cell."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import PatchShapeError

PERCENTILE: Final = 99.0
"""Maps are cut at this percentile: single pixels outshine all others (Smilkov et al. 2017)."""

RAMP: Final = (
    (0.00, (0, 0, 4)),
    (0.25, (87, 16, 110)),
    (0.50, (188, 55, 84)),
    (0.75, (249, 142, 9)),
    (1.00, (252, 255, 164)),
)
"""Five stops of the inferno colour map (van der Walt and Smith 2015): even steps in lightness."""


def normalise_saliency(
    maps: NDArray[np.float32], *, percentile: float = PERCENTILE
) -> NDArray[np.float32]:
    """Each map divided by its own percentile and cut at 1: brightness compares within a map only.

    Args:
        maps: shape (N, H, W), at least 0.
        percentile: above 0, at most 100.

    Returns:
        Same shape, 0–1; a map that is 0 everywhere stays so.
    """
    if not len(maps):
        return maps.astype(np.float32)
    flat = maps.reshape(len(maps), -1)
    top = np.percentile(flat, percentile, axis=1)
    top = np.where(top > 0, top, flat.max(axis=1))[:, None, None]
    scaled: NDArray[np.float32] = np.minimum(
        np.divide(maps, top, out=np.zeros_like(maps, np.float32), where=top > 0), 1.0
    )
    return scaled


def paint_saliency(
    patch: NDArray[np.uint8], saliency: NDArray[np.float32], *, strength: float = 0.85
) -> NDArray[np.uint8]:
    """A patch in grey with its map in colour over it.

    Args:
        patch: RGB, shape (H, W, 3), 0–255.
        saliency: shape (H, W), at least 0, at any scale.
        strength: opacity of the map's brightest pixels, 0–1; a pixel of no saliency stays grey.

    Returns:
        RGB, shape (H, W, 3), 0–255.

    Raises:
        PatchShapeError: patch and map are not of one size.
    """
    if patch.shape != (*saliency.shape, 3) or patch.dtype != np.uint8:
        raise PatchShapeError(
            f"patch is {patch.dtype} {patch.shape}, its map {saliency.shape}: expected uint8"
            " (H, W, 3) and (H, W)"
        )
    level = normalise_saliency(saliency[None])[0]
    stops = [stop for stop, _ in RAMP]
    colour = np.stack(
        [np.interp(level, stops, [rgb[channel] for _, rgb in RAMP]) for channel in range(3)], axis=2
    )
    grey = patch.astype(np.float64) @ (0.299, 0.587, 0.114)
    opacity = strength * level[:, :, None]
    painted: NDArray[np.uint8] = np.rint(
        grey[:, :, None] * (1.0 - opacity) + colour * opacity
    ).astype(np.uint8)
    return painted
