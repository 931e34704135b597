"""Values of timm's `tf_efficientnet_lite0` and `-lite2`, whose logits ours equalled exactly."""

import pytest
import torch

from models.golden import golden_patches
from models.nets.efficientnet_lite import EfficientNetLite, SameConv2d
from models.nets.registry import build_network
from models.preprocess import normalise, resize, to_tensor
from models.training.classifier.initial import initialise
from models.training.classifier.recipe import Recipe, RecipeError
from models.training.imagenet import IMAGENET, locate_imagenet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("name", "px", "best", "logits"),
    [
        ("efficientnet_lite0", 224, [712, 107, 584, 584], [6.2693, 6.6935, 6.2220, 6.5962]),
        ("efficientnet_lite2", 260, [419, 419, 551, 419], [6.7342, 7.6869, 7.6168, 7.7899]),
    ],
)
def test_imagenet_weights_give_the_logits_of_the_reference_implementation(name, px, best, logits):
    network = build_network(name, 1000).eval()
    network.load_state_dict(torch.load(locate_imagenet(IMAGENET[name]), weights_only=True))
    with torch.inference_mode():
        found = network(normalise(resize(to_tensor(golden_patches()), px), MEAN, STD)).max(dim=1)
    assert found.indices.tolist() == best
    torch.testing.assert_close(found.values, torch.tensor(logits), atol=2e-3, rtol=0)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 5, 2), (9, 5, 1)])
def test_padding_is_tensorflows(size, kernel, stride):
    layer = SameConv2d(1, 1, kernel, stride)
    torch.nn.init.ones_(layer.weight)
    with torch.inference_mode():
        seen = layer(torch.ones(1, 1, size, size))
    out = -(-size // stride)
    assert seen.shape == (1, 1, out, out)
    before = max(0, (out - 1) * stride + kernel - size) // 2
    assert float(seen[0, 0, 0, 0]) == min(kernel - before, size) ** 2


def test_a_run_begins_with_imagenet_weights_and_a_fresh_head():
    recipe = Recipe(name="x", network="efficientnet_lite0", init="imagenet")
    network = EfficientNetLite(15)
    head = network._fc.weight.clone()
    initialise(network, recipe)
    stored = torch.load(locate_imagenet(IMAGENET[recipe.network]), weights_only=True)
    assert torch.equal(network._conv_stem.weight, stored["_conv_stem.weight"])
    assert torch.equal(network._fc.weight, head)


def test_imagenet_weights_for_another_network_are_refused():
    with pytest.raises(RecipeError, match="resnext50_32x4d"):
        initialise(torch.nn.Identity(), Recipe(name="x", init="imagenet"))
