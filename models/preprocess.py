"""From uint8 patches to what a network sees. Training and serving share these lines."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def to_tensor(images: NDArray[np.uint8] | Tensor) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W) in 0–1, channels last in memory.

    A tensor stays on its device: bytes sent to a GPU first are a quarter of the floats.
    """
    if not isinstance(images, Tensor):
        images = torch.from_numpy(np.ascontiguousarray(images))
    tensor = images.permute(0, 3, 1, 2)
    return tensor.to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def resize(images: Tensor, px: int) -> Tensor:
    """(N, 3, H, W) → (N, 3, px, px), anti-aliased: a physical field keeps its extent."""
    if images.shape[-2:] == (px, px):
        return images
    return F.interpolate(images, size=(px, px), mode="bilinear", antialias=True)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract `mean` and divide by `std` per RGB channel; images in 0–1."""
    shape = (1, 3, 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)
