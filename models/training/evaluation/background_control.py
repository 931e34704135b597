"""The same patches without their cells: what the neighbourhood alone tells the network.

Blasts may come from one laboratory and healthy cells from another. A network that learned glass,
stain or camera instead of cells still tells these patches apart; one that looks at the cell cannot.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PATCH_UM: Final = 29.0
"""Width of a patch (Matek et al. 2019: 400 px of 0.0725 µm)."""

RADIUS_UM: Final = 11.0
"""Of the disc that is hidden: blasts and monocytes are up to 20 µm across, plus 1 µm for their
outline's blur and for a cell that is not quite at the centre. Half a patch is 14.5 µm, so the sides
keep 3.5 µm and the corners 9.5 µm of the neighbourhood. Of a cell wider than 22 µm a rim stays."""

FADE_UM: Final = 1.5
"""Beyond the disc the fill fades into the patch, so that no edge of ours is left to learn from."""


def hide_cell(
    patches: NDArray[np.uint8],
    *,
    radius_um: float = RADIUS_UM,
    fade_um: float = FADE_UM,
    patch_um: float = PATCH_UM,
) -> NDArray[np.uint8]:
    """Paint over the cell at each patch's centre with the colour around it.

    The fill is one colour, the glass: the median per channel of the brighter half (in green, where
    stain is darkest) of the pixels further out than disc and fade. No pixel of the disc reaches the
    result. Neighbours that reach in are cut off, neighbours further out stay: they are what the
    control is about. A plain median gave, between touching red cells, a disc in the red cells'
    colour, and beside large leukocytes one in theirs: a cell again.

    Args:
        patches: RGB, shape (N, side, side, 3), 0–255. N may be 0.
        radius_um: of the disc.
        fade_um: width of the ring in which the fill gives way to the patch.
        patch_um: width of a patch.

    Returns:
        New array of the same shape.

    Raises:
        ValueError: nothing of the patch lies outside disc and fade.
    """
    side = patches.shape[1]
    offset_um = (np.arange(side) + 0.5 - side / 2) * patch_um / side
    distance_um = np.hypot(offset_um[:, None], offset_um[None, :])
    outside = distance_um > radius_um + fade_um
    if not outside.any():
        raise ValueError(f"a disc of {radius_um} µm and its fade cover a patch of {patch_um} µm")
    ramp = np.clip((distance_um - radius_um) / fade_um, 0.0, 1.0).astype(np.float32)
    keep = (ramp * ramp * (3 - 2 * ramp))[:, :, None]
    hidden = np.empty_like(patches)
    for index, patch in enumerate(patches):
        around = patch[outside]
        half = len(around) // 2
        brighter = around[np.argpartition(around[:, 1], half)[half:]]
        fill = np.median(brighter, axis=0).astype(np.float32)
        hidden[index] = np.rint(fill + keep * (patch - fill))
    return hidden
