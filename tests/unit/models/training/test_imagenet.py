from dataclasses import replace

import pytest
import torch

from models.errors import WeightsCorrupt, WeightsUnavailable
from models.training import imagenet
from models.training.imagenet import IMAGENET, load_imagenet


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    absent = replace(IMAGENET["efficientnet_lite0"], package="no_such_model")
    monkeypatch.setitem(imagenet.IMAGENET, "efficientnet_lite0", absent)
    with pytest.raises(WeightsUnavailable, match="no-such-model"):
        load_imagenet(torch.nn.Identity(), "efficientnet_lite0")


def test_a_file_that_is_not_the_one_we_know_is_refused(monkeypatch):
    other = replace(IMAGENET["efficientnet_lite0"], sha256="0" * 64)
    monkeypatch.setitem(imagenet.IMAGENET, "efficientnet_lite0", other)
    with pytest.raises(WeightsCorrupt, match="SHA-256"):
        load_imagenet(torch.nn.Identity(), "efficientnet_lite0")
