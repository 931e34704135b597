"""Convolution, batch norm and activation as one call of oneDNN: the same function, faster.

A small network on a CPU spends much of its time carrying numbers to memory and back: for each
batch norm, each activation, each edge that is padded. For inference, after `eval()`. Outputs differ
by rounding only; the state dict is another one, so what is to be saved or trained on is not fused.
Gradients still reach the pixels.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.nets.efficientnet_lite import SameConv2d, Trunk

_ACTIVATIONS: Final[dict[type[nn.Module], tuple[str, list[float]]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""Their names and parameters in torch's operators for oneDNN, which its compiler emits too."""


class FusedConv2d(nn.Module):
    """A convolution that hands on its activation's result.

    A `SameConv2d` becomes the one that an image turned by 180° needs. Where it strides, the odd
    pixel of its padding comes last, and first in the turned image: there, padding both sides alike
    gives the same, and oneDNN does that by itself.

    Args:
        conv: padded with zeros.
        activation: one of `_ACTIVATIONS`.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        turns = isinstance(conv, SameConv2d)
        weight = conv.weight.detach()
        self.weight = nn.Parameter(weight.flip((2, 3)) if turns else weight)
        self.bias = conv.bias
        padding = [size // 2 for size in conv.kernel_size] if turns else list(conv.padding)
        self._shape: Any = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        self._activation = activation
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        padding, stride, dilation, groups = self._shape
        if torch.is_grad_enabled() or not _is_for_onednn(x):
            out = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
            activated: Tensor = self._activation(out)
            return activated
        operators = torch.ops.mkldnn
        if self._packed is None:
            self._packed = operators._reorder_convolution_weight(
                self.weight, *self._shape, list(x.shape)
            )
        name, parameters = _ACTIVATIONS[type(self._activation)]
        fused: Tensor = operators._convolution_pointwise(
            x, self._packed, self.bias, *self._shape, name, parameters, ""
        )
        return fused


def fuse_layers(network: nn.Module) -> None:
    """Fuse each convolution with the batch norm and the activation registered right after it.

    The networks of this project register layers in the order in which they compute.

    Args:
        network: changed in place; normalisations of other kinds stay.
    """
    for module in list(network.modules()):
        if isinstance(module, Trunk):
            module.turned = True
        layers = list(module.named_children())
        while layers:
            name, conv = layers.pop(0)
            if not isinstance(conv, nn.Conv2d):
                continue
            activation: nn.Module = nn.Identity()
            if layers and isinstance(norm := layers[0][1], nn.BatchNorm2d):
                conv = fuse_conv_bn_eval(conv, norm)
                setattr(module, layers.pop(0)[0], nn.Identity())
            if layers and type(layers[0][1]) in _ACTIVATIONS:
                follower, activation = layers.pop(0)
                setattr(module, follower, nn.Identity())
            setattr(module, name, FusedConv2d(conv, activation))


def _is_for_onednn(x: Tensor) -> bool:
    return x.is_cpu and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
