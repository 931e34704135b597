import subprocess
import sys

import pytest
import torch
from torchvision.models import resnext50_32x4d

from models.nets.registry import NETWORKS, build_network


@pytest.mark.parametrize("px", [64, 97])
def test_outputs_are_torchvisions_with_its_own_state_dict(px):
    torch.manual_seed(0)
    theirs = resnext50_32x4d(weights=None, num_classes=15).eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            buffer.normal_()
    ours = build_network("resnext50_32x4d", 15).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, px, px)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def spread(tensor):
    return float(tensor.detach().std())


def test_fresh_weights_are_drawn_as_torchvision_draws_them():
    ours, theirs = build_network("resnext50_32x4d", 15), resnext50_32x4d(num_classes=15)
    names = dict(theirs.named_parameters())
    for name, tensor in ours.named_parameters():
        if tensor.numel() > 10_000:
            assert spread(tensor) == pytest.approx(spread(names[name]), rel=0.05), name
        elif "bn" in name or "downsample.1" in name:
            assert torch.equal(tensor, names[name]), name


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_from_one_step(name):
    network = build_network(name, 3)
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters() if p.ndim > 1)


def test_group_norm_sees_no_other_image_of_the_batch():
    network = build_network("resnext50_32x4d_gn", 3).train()
    images = torch.randn(3, 3, 64, 64)
    alone, together = network(images[:1]), network(images)[:1]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_serving_imports_no_torchvision():
    code = "import sys, worker.inference, worker.pipeline; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
