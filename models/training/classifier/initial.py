"""Weights that a training run begins with."""

from torch import nn

from models.card import load_card
from models.catalogue import WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.nets.efficientnet_lite import EfficientNetLite
from models.training.classifier.recipe import Recipe, RecipeError
from models.training.imagenet import HEAD, IMAGENET, load_imagenet


def initialise(network: nn.Module, recipe: Recipe) -> None:
    """Fill a fresh network with what the recipe's `init` names; ImageNet's head is not taken.

    Raises:
        WeightsUnavailable, WeightsCorrupt: the weights cannot be loaded.
        RecipeError: there are no such weights for this network.
    """
    if recipe.init == "random":
        return
    if recipe.init_weights is not None:
        directory = locate_weights(recipe.init_weights)
        load_weights(network, directory / WEIGHTS_FILE, load_card(directory).sha256)
        return
    if recipe.network not in IMAGENET:
        raise RecipeError(
            f"init {recipe.init!r} is known for {' and '.join(IMAGENET)}, not for {recipe.network}:"
            ' take init = "random"'
        )
    missing = load_imagenet(network, recipe.network)
    assert all(name.startswith(HEAD) for name in missing)


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
