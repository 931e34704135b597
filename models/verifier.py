"""A second look at the peaks of a heat map, each by itself and at twice the scale.

A network as small as the heat map's fires at what it never saw: dark red cells of another species,
clumps of platelets. One that began with photographs of everything tells these from leukocytes.
"""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.nets.heatmap import OUTPUT_STRIDE
from models.nets.verifier import VerifierNet
from models.red_cell import PRIOR

CROP_PX: Final = 48
"""Width of what is looked at, field px: 28 µm, a leukocyte and what lies around it."""

ENLARGED: Final = 2
"""Crops are enlarged by this."""

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
"""Of ImageNet, whose weights the network began with."""

BATCH: Final = 8
"""Crops of one forward pass; 32 at once took no less time, and more memory."""


def cut_crops(
    density: NDArray[np.float32], rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Squares about cells of a field's heat map; beyond the field there is glass.

    Args:
        density: of the field, as `relative_density` gives it, shape (3, height, width).
        rows: of the heat map's cells, shape (K,); each is `OUTPUT_STRIDE` px wide.
        cols: the same of their columns.

    Returns:
        Shape (K, 3, CROP_PX, CROP_PX).
    """
    half = CROP_PX // 2
    padded = np.pad(density, ((0, 0), (half, half), (half, half)))
    crops = np.empty((len(rows), 3, CROP_PX, CROP_PX), np.float32)
    centre = OUTPUT_STRIDE // 2
    for crop, row, col in zip(crops, rows.tolist(), cols.tolist(), strict=True):
        top, left = row * OUTPUT_STRIDE + centre, col * OUTPUT_STRIDE + centre
        crop[...] = padded[:, top : top + CROP_PX, left : left + CROP_PX]
    return crops


def render(crops: Tensor) -> Tensor:
    """Crops as a photograph of a usual stain, enlarged and normalised: the network's input.

    Args:
        crops: density in units of the slide's red cells, shape (N, 3, S, S).
    """
    red_cell, mean, std = (crops.new_tensor(value).view(3, 1, 1) for value in (PRIOR, MEAN, STD))
    light = torch.exp(-crops * red_cell)
    light = F.interpolate(light, scale_factor=ENLARGED, mode="bilinear", align_corners=False)
    return ((light - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def verify(
    network: VerifierNet, crops: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """Logits of "a leukocyte is at the centre".

    Args:
        network: in inference mode, on `device`.
        crops: as `cut_crops` gives them, shape (N, 3, CROP_PX, CROP_PX); N may be 0.
        device: where to compute.

    Returns:
        Shape (N,).
    """
    logits = np.empty(len(crops), np.float32)
    for start in range(0, len(crops), BATCH):
        part = torch.from_numpy(crops[start : start + BATCH]).to(device)
        logits[start : start + BATCH] = network(render(part)).cpu().numpy()
    return logits
