"""Networks a card may name. Add one here, and every command can train and serve it."""

from collections.abc import Callable
from functools import partial
from typing import Final

from torch import nn

from models.errors import WeightsUnavailable
from models.nets.efficientnet_lite import EfficientNetLite
from models.nets.resnext import ResNeXt


def build_resnext50(n_classes: int) -> nn.Module:
    """ResNeXt-50 32×4d with a fresh head: 23.0 M parameters at 15 classes.

    Cardinality 32 as in Matek et al. 2019. 13.7 GMAC a patch at 400 × 400, 2.2 at 160 × 160.
    """
    return ResNeXt((3, 4, 6, 3), n_classes)


def build_resnext50_group_norm(n_classes: int) -> nn.Module:
    """The same with GroupNorm (Wu and He 2018) of 32 groups, which knows no batch."""
    return ResNeXt((3, 4, 6, 3), n_classes, norm=partial(nn.GroupNorm, 32))


def build_efficientnet_lite0(n_classes: int) -> nn.Module:
    """EfficientNet-lite0 with a fresh head: 3.4 M parameters at 15 classes."""
    return EfficientNetLite(n_classes)


def build_efficientnet_lite2(n_classes: int) -> nn.Module:
    """EfficientNet-lite2 with a fresh head: 4.8 M parameters at 15 classes."""
    return EfficientNetLite(n_classes, width=1.1, depth=1.2, dropout=0.3)


NETWORKS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "resnext50_32x4d": build_resnext50,
    "resnext50_32x4d_gn": build_resnext50_group_norm,
    "efficientnet_lite0": build_efficientnet_lite0,
    "efficientnet_lite2": build_efficientnet_lite2,
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
