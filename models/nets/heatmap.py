"""A small fully convolutional network: where leukocyte centres are, and how wide the cells.

Three resolutions (1/2, 1/4, 1/8 of the input), skips by addition, nearest-neighbour upsampling:
the output moves with the input by any multiple of `STRIDE` px, which tiling relies on. The head is
CenterNet's (Zhou et al. 2019, arXiv:1904.07850): a centre heat map and a size at each centre.
"""

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OUTPUT_STRIDE: Final = 2
"""Input px per output px."""

STRIDE: Final = 8
"""Input px by which a shift moves the output exactly; height and width are multiples of it."""

RECEPTIVE_RADIUS_PX: Final = 46
"""Input px left of, right of, above or below an output px that can change it. Summed over the
deepest path: 1 + 2 (1/2), 2 + 2·4 (1/4), 4 + 2·8 (1/8), 4 and 2 on the way up, 7 for the alignment
of the 1/8 grid; a test perturbs pixels to check that nothing beyond it matters."""

PRIOR: Final = 0.01
"""Heat before training, so that the focal loss starts calm (Lin et al. 2017, arXiv:1708.02002)."""

MEAN_DIAMETER_UM: Final = 13.0
"""The diameter a zero output means; outputs are ln(diameter / this)."""


class ConvNorm(nn.Module):
    """3 × 3 convolution and batch norm, then ReLU unless `relu` is off."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.relu(self.norm(self.conv(x)))
        return y


class Residual(nn.Module):
    """Two 3 × 3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, channels, H, W), kept."""
        return F.relu(x + self.second(self.first(x)), inplace=True)


class HeatmapNet(nn.Module):
    """Optical density of a field in, centre heat map and diameter out.

    Args:
        width: channels at 1/2 resolution; twice and four times that below.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        half, quarter, eighth = width, 2 * width, 4 * width
        self.enter_half = nn.Sequential(ConvNorm(3, half, stride=2), ConvNorm(half, half))
        self.enter_quarter = nn.Sequential(ConvNorm(half, quarter, stride=2), Residual(quarter))
        self.enter_eighth = nn.Sequential(ConvNorm(quarter, eighth, stride=2), Residual(eighth))
        self.lift_quarter = nn.Conv2d(eighth, quarter, 1)
        self.leave_quarter = ConvNorm(quarter, quarter)
        self.lift_half = nn.Conv2d(quarter, half, 1)
        self.leave_half = ConvNorm(half, half)
        self.head = nn.Conv2d(half, 2, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.tensor([math.log(PRIOR / (1 - PRIOR)), 0.0]))  # type: ignore[union-attr]

    def forward(self, density: Tensor) -> Tensor:
        """Heat logits and log diameters.

        Args:
            density: optical density relative to the glass, shape (N, 3, H, W), H and W multiples
                of `STRIDE`. Zero padding inside the network therefore reads as glass.

        Returns:
            Shape (N, 2, H / 2, W / 2): the logit of "a leukocyte's centre is here", and
            ln(diameter / MEAN_DIAMETER_UM).
        """
        half = self.enter_half(density)
        quarter = self.enter_quarter(half)
        eighth = self.enter_eighth(quarter)
        quarter = self.leave_quarter(quarter + _double(self.lift_quarter(eighth)))
        half = self.leave_half(half + _double(self.lift_half(quarter)))
        out: Tensor = self.head(half)
        return out


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
