import numpy as np
import pytest
import torch

from models.nets.heatmap import OUTPUT_STRIDE, RECEPTIVE_RADIUS_PX, STRIDE, HeatmapNet


@pytest.fixture(scope="module")
def network() -> HeatmapNet:
    torch.manual_seed(0)
    network = HeatmapNet().double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network


@pytest.mark.parametrize("phase", range(STRIDE))
def test_nothing_beyond_the_receptive_radius_changes_the_output(network, phase):
    column = 96 + phase
    field = torch.rand(1, 3, 64, 192, dtype=torch.float64)
    touched = field.clone()
    touched[..., column] += 5.0
    with torch.inference_mode():
        changed = (network(touched) - network(field)).abs().sum(dim=(0, 1, 2))
    cells = changed.nonzero().flatten()
    assert column - OUTPUT_STRIDE * int(cells.min()) <= RECEPTIVE_RADIUS_PX
    assert OUTPUT_STRIDE * int(cells.max()) + 1 - column <= RECEPTIVE_RADIUS_PX


def test_output_moves_with_the_input_by_its_stride(network):
    field = torch.rand(1, 3, 160, 160, dtype=torch.float64)
    reach = RECEPTIVE_RADIUS_PX + OUTPUT_STRIDE
    cells = slice(reach // OUTPUT_STRIDE, (160 - reach) // OUTPUT_STRIDE)
    with torch.inference_mode():
        still = network(field)[..., :, cells]
        moved = network(torch.roll(field, STRIDE, dims=2))
    by = STRIDE // OUTPUT_STRIDE
    rows = slice(reach // OUTPUT_STRIDE, (160 - reach - STRIDE) // OUTPUT_STRIDE)
    shifted = moved[..., rows.start + by : rows.stop + by, cells]
    np.testing.assert_allclose(shifted, still[..., rows, :], atol=1e-12)


def test_network_is_small():
    assert sum(parameter.numel() for parameter in HeatmapNet().parameters()) < 200_000
