"""Networks a card may name. Add one here, and every command can train and serve it."""

from collections.abc import Callable
from typing import Final

from torch import nn
from torchvision.models import resnext50_32x4d

from models.errors import WeightsUnavailable


def build_resnext50(n_classes: int) -> nn.Module:
    """ResNeXt-50 32×4d (Xie et al. 2017) with a fresh head: 23.0 M parameters at 15 classes.

    Cardinality 32 as in Matek et al. 2019. 13.7 GMAC a patch at 400 × 400, 2.2 at 160 × 160.
    """
    network: nn.Module = resnext50_32x4d(weights=None, num_classes=n_classes)
    return network


NETWORKS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "resnext50_32x4d": build_resnext50,
}


def build_network(name: str, n_classes: int) -> nn.Module:
    """An untrained network: (N, 3, H, W) float → (N, n_classes) logits.

    Raises:
        WeightsUnavailable: no network of that name is registered.
    """
    try:
        build = NETWORKS[name]
    except KeyError:
        raise WeightsUnavailable(
            f"the card names the network {name!r}; this version knows {', '.join(NETWORKS)}"
        ) from None
    return build(n_classes)
