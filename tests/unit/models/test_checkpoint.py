import pytest
import torch
from torch import nn

from models.catalogue import hash_file, locate_weights
from models.checkpoint import load_weights, save_weights
from models.errors import WeightsCorrupt, WeightsUnavailable


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_weights_come_back_in_float32_within_half_precision(tmp_path):
    saved, loaded = network(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    sha256 = save_weights(saved, tmp_path / "weights.safetensors")
    load_weights(loaded, tmp_path / "weights.safetensors", sha256)
    assert loaded[0].weight.dtype == torch.float32
    torch.testing.assert_close(loaded[0].weight, saved[0].weight, rtol=1e-3, atol=1e-4)


def test_a_running_variance_that_half_precision_would_lose_survives(tmp_path):
    saved, loaded = network(), network()
    saved[1].running_var.fill_(1e-9)
    sha256 = save_weights(saved, tmp_path / "weights.safetensors")
    load_weights(loaded, tmp_path / "weights.safetensors", sha256)
    assert loaded[1].running_var[0].item() == pytest.approx(1e-9)


def test_a_tampered_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(network(), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsCorrupt, match=r"truncated or was changed"):
        load_weights(network(), path, sha256)


def test_a_truncated_file_with_a_matching_hash_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsCorrupt, match="does not fit"):
        load_weights(network(), path, hash_file(path))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(nn.Linear(2, 2), path)
    with pytest.raises(WeightsCorrupt, match="does not fit"):
        load_weights(network(), path, sha256)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsUnavailable, match=r"weights\.safetensors"):
        load_weights(network(), tmp_path / "weights.safetensors", "0" * 64)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "card.json").write_text("{}")
    with pytest.raises(WeightsUnavailable, match="available: good"):
        locate_weights("bad", root=tmp_path)
