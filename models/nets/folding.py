"""Batch norms as part of the convolutions before them: the same function in fewer passes."""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each batch norm into the convolution that was registered right before it.

    For inference, after `eval()`. The networks of this project register layers in the order in
    which they compute. Outputs differ by rounding only; the state dict is another one, so what is
    to be saved or trained on is not folded.

    Args:
        network: changed in place; normalisations of other kinds stay.
    """
    for module in list(network.modules()):
        for (before, conv), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(conv, norm))
                setattr(module, name, nn.Identity())
