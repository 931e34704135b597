import numpy as np
import pytest
import torch

from models.nets.heatmap import OUTPUT_STRIDE
from models.nets.verifier import BLOCKS, VerifierNet
from models.training.imagenet import IMAGENET, load_imagenet, locate_imagenet
from models.verifier import BATCH, CROP_PX, ENLARGED, cut_crops, render, verify

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> VerifierNet:
    torch.manual_seed(0)
    network = VerifierNet().eval()
    load_imagenet(network, "efficientnet_lite0")
    return network


def test_a_crop_is_centred_on_its_cell_of_the_heat_map():
    density = np.zeros((3, 120, 160), np.float32)
    row, col = 31, 40
    density[:, row * OUTPUT_STRIDE : (row + 1) * OUTPUT_STRIDE, col * OUTPUT_STRIDE] = 1.0
    (crop,) = cut_crops(density, np.array([row]), np.array([col]))
    lit = np.argwhere(crop[0])
    half = CROP_PX // 2
    assert lit.tolist() == [[half - 1, half - 1], [half, half - 1]]


def test_beyond_the_field_there_is_glass():
    crops = cut_crops(np.ones((3, 60, 60), np.float32), np.array([0, 29]), np.array([0, 29]))
    first, last = crops[:, 0]
    half = CROP_PX // 2
    assert first[half - 1 :, half - 1 :].all() and not first[: half - 1].any()
    assert last[: half + 1, : half + 1].all() and not last[:, half + 1 :].any()


def test_no_candidates_give_no_crops_and_no_verdicts(network):
    none = np.empty(0, np.intp)
    crops = cut_crops(np.zeros((3, 60, 60), np.float32), none, none)
    assert crops.shape == (0, 3, CROP_PX, CROP_PX)
    assert verify(network, np.zeros((3, 60, 60), np.float32), none, none, CPU).shape == (0,)


def test_a_red_cell_is_rendered_in_its_usual_colour_whatever_the_slide():
    image = render(torch.ones(1, 3, CROP_PX, CROP_PX))
    assert image.shape == (1, 3, ENLARGED * CROP_PX, ENLARGED * CROP_PX)
    red, green, blue = (image[0].mean((1, 2)) * torch.tensor([0.229, 0.224, 0.225])).tolist()
    assert green + 0.456 == pytest.approx(np.exp(-0.4), abs=1e-4)
    assert red + 0.485 > blue + 0.406 > green + 0.456


def test_a_verdict_does_not_depend_on_the_crops_beside_it(network):
    rng = np.random.default_rng(0)
    density = rng.uniform(0, 3, (3, 90, 70)).astype(np.float32)
    rows, cols = rng.integers(0, 45, BATCH + 3), rng.integers(0, 35, BATCH + 3)
    one_by_one = zip(rows[:, None], cols[:, None], strict=True)
    alone = np.concatenate([verify(network, density, row, col, CPU) for row, col in one_by_one])
    np.testing.assert_allclose(verify(network, density, rows, cols, CPU), alone, atol=1e-4)


def test_it_begins_with_the_first_blocks_of_imagenet_weights(network):
    stored = torch.load(locate_imagenet(IMAGENET["efficientnet_lite0"]), weights_only=True)
    last = f"_blocks.{BLOCKS - 1}._project_conv.weight"
    assert torch.equal(network.state_dict()[last], stored[last])
    assert not any(name.startswith(f"_blocks.{BLOCKS}.") for name in network.state_dict())
    assert load_imagenet(VerifierNet(), "efficientnet_lite0") == ["_fc.weight", "_fc.bias"]
