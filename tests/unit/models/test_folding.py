import copy

import pytest
import torch
from torch import nn

from models.detector import DetectorNet
from models.nets.folding import fold_batch_norms
from models.nets.registry import NETWORKS, build_network

PX = 64


def run_all(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    parts = network.children() if isinstance(network, DetectorNet) else [network]
    with torch.inference_mode():
        return [part(images) for part in parts]


@pytest.mark.parametrize("name", [*NETWORKS, "detector"])
def test_folding_keeps_the_function_and_leaves_no_batch_norm(name):
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
    network = network.double().eval()
    folded = copy.deepcopy(network)
    fold_batch_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.rand(2, 3, PX, PX, dtype=torch.float64)
    for seen, before in zip(run_all(folded, images), run_all(network, images), strict=True):
        assert before.std() > 1e-4
        torch.testing.assert_close(seen, before, rtol=1e-9, atol=1e-9)


def test_other_normalisations_stay():
    network = build_network("resnext50_32x4d_gn", 15)
    before = {name for name, part in network.named_modules() if isinstance(part, nn.GroupNorm)}
    fold_batch_norms(network.eval())
    after = {name for name, part in network.named_modules() if isinstance(part, nn.GroupNorm)}
    assert before == after != set()
