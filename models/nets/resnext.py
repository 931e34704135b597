"""ResNeXt: bottlenecks whose 3 × 3 convolution runs in parallel groups (the cardinality).

Xie S, Girshick R, Dollár P, Tu Z, He K. "Aggregated residual transformations for deep neural
networks." CVPR 2017. Parameters are named and shaped like torchvision's, so state dicts of either
load into the other and the outputs are the same; torchvision itself costs a scan four seconds and
165 MB to import (docs/decisions/0006).
"""

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]

CARDINALITY: Final = 32
GROUP_WIDTH: Final = 4
"""Channels of a group in the first stage; doubles with every stage."""
EXPANSION: Final = 4
"""Output channels of a bottleneck over the planes of its stage."""
STAGE_PLANES: Final = (64, 128, 256, 512)


class Bottleneck(nn.Module):
    """1 × 1, grouped 3 × 3 (which bears the stride) and 1 × 1 convolution around a shortcut."""

    def __init__(self, channels: int, planes: int, stride: int, norm: Norm) -> None:
        super().__init__()
        width = planes * GROUP_WIDTH // 64 * CARDINALITY
        out = planes * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = norm(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=CARDINALITY, bias=False)
        self.bn2 = norm(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = norm(out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, planes · 4, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        return F.relu(x, inplace=True)


class ResNeXt(nn.Module):
    """ResNeXt 32×4d: a 7 × 7 stem, four stages of bottlenecks, global mean, one linear layer.

    Args:
        depths: bottlenecks of each of the four stages; (3, 4, 6, 3) is ResNeXt-50.
        n_classes: outputs.
        norm: makes a normalisation layer for a number of channels.
    """

    def __init__(
        self, depths: tuple[int, int, int, int], n_classes: int, *, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        self.relu1 = nn.ReLU(inplace=True)
        channels = 64
        stages = []
        for index, (planes, depth) in enumerate(zip(STAGE_PLANES, depths, strict=True)):
            blocks = []
            for block in range(depth):
                stride = 2 if block == 0 and index > 0 else 1
                blocks.append(Bottleneck(channels, planes, stride, norm))
                channels = planes * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, n_classes) logits."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]
