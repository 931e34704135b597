import copy

import pytest
import torch
from torch import nn

from models.detector import DetectorNet
from models.nets.fusing import FusedConv2d, fuse_layers
from models.nets.registry import NETWORKS, build_network

ONEDNN = torch.backends.mkldnn.is_available()


def build(name):
    """A network whose layers all matter: statistics as if it had been trained."""
    torch.manual_seed(0)
    network = DetectorNet() if name == "detector" else build_network(name, 15)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return network.eval()


def fused(network):
    changed = copy.deepcopy(network)
    fuse_layers(changed)
    return changed


def run_all(network, images):
    parts = network.children() if isinstance(network, DetectorNet) else [network]
    return [part(images) for part in parts]


# EfficientNet pads odd sizes otherwise than even ones; a heat map needs multiples of 8
SIZES = [(name, size) for name in [*NETWORKS, "detector"] for size in [(64, 64), (96, 40)]]
SIZES += [(name, (65, 63)) for name in NETWORKS]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_fusing_keeps_the_function_and_leaves_no_batch_norm(name, size):
    network = build(name).double()
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    changed = fused(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in changed.modules())
    with torch.inference_mode():
        for seen, before in zip(run_all(changed, images), run_all(network, images), strict=True):
            assert before.std() > 1e-4
            torch.testing.assert_close(seen, before, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(not ONEDNN, reason="this torch has no oneDNN")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*NETWORKS, "detector"])
def test_one_call_of_onednn_gives_what_the_layers_give(name, threads, monkeypatch):
    network = build(name)
    images = torch.rand(3, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    changed = fused(network)
    used = []
    forward = FusedConv2d.forward

    def watched(self, x):
        out = forward(self, x)
        used.append(self._packed is not None)
        return out

    monkeypatch.setattr(FusedConv2d, "forward", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for again in (images, images[:1]):  # weights packed for one batch serve any
                pairs = zip(run_all(changed, again), run_all(network, again), strict=True)
                for seen, wanted in pairs:
                    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(before)
    assert used
    assert all(used)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnext50_32x4d"])
def test_gradients_reach_the_pixels_as_before(name):
    network = build(name).double()
    gradients = []
    for each in (network, fused(network)):
        images = torch.rand(
            1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        ).requires_grad_()
        (gradient,) = torch.autograd.grad(each(images)[0, 3], images)
        gradients.append(gradient)
    assert gradients[0].abs().max() > 1e-6
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_other_normalisations_stay():
    network = build_network("resnext50_32x4d_gn", 15)
    before = {name for name, part in network.named_modules() if isinstance(part, nn.GroupNorm)}
    fuse_layers(network.eval())
    after = {name for name, part in network.named_modules() if isinstance(part, nn.GroupNorm)}
    assert before == after != set()
