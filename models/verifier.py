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
    _, height, width = density.shape
    crops = np.zeros((len(rows), 3, CROP_PX, CROP_PX), np.float32)
    to_corner = OUTPUT_STRIDE // 2 - CROP_PX // 2
    for crop, row, col in zip(crops, rows.tolist(), cols.tolist(), strict=True):
        top, left = row * OUTPUT_STRIDE + to_corner, col * OUTPUT_STRIDE + to_corner
        y0, y1 = max(0, top), min(height, top + CROP_PX)
        x0, x1 = max(0, left), min(width, left + CROP_PX)
        crop[:, y0 - top : y1 - top, x0 - left : x1 - left] = density[:, y0:y1, x0:x1]
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
    network: VerifierNet,
    density: NDArray[np.float32],
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    device: torch.device,
) -> NDArray[np.float32]:
    """Logits of "a leukocyte is here", for cells of a field's heat map.

    `BATCH` crops are in memory at a time, however many cells there are.

    Args:
        network: in inference mode, on `device`.
        density: of the field, as for `cut_crops`.
        rows: of the cells, shape (K,); K may be 0.
        cols: of the cells, shape (K,).
        device: where to compute.

    Returns:
        Shape (K,).
    """
    logits = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        crops = torch.from_numpy(cut_crops(density, rows[part], cols[part])).to(device)
        logits[part] = network(render(crops)).cpu().numpy()
    return logits
