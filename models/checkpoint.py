"""Weights on disk: safetensors with a SHA-256, never a pickle.

A weights directory `models/weights/<name>/` holds `card.json` and `weights.safetensors`. Half
precision on disk; loaded as float32.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models.catalogue import hash_file
from models.errors import WeightsCorrupt, WeightsUnavailable


def save_weights(module: nn.Module, path: Path) -> str:
    """Write a module's state in half precision; returns the file's SHA-256.

    Batch-norm statistics keep their precision: a variance may underflow in half.
    """
    state = {
        name: tensor.detach().cpu().contiguous()
        if "running_" in name or not tensor.is_floating_point()
        else tensor.detach().cpu().half().contiguous()
        for name, tensor in module.state_dict().items()
    }
    path.write_bytes(save(state))
    return hash_file(path)


def load_weights(module: nn.Module, path: Path, sha256: str) -> None:
    """Fill a module with the weights of a file, in float32, after checking its hash.

    Raises:
        WeightsUnavailable: there is no such file.
        WeightsCorrupt: hash, tensor names or shapes differ from the card and network.
    """
    if not path.is_file():
        raise WeightsUnavailable(f"{path.name} of weights {path.parent.name!r} is missing")
    found = hash_file(path)
    if found != sha256:
        raise WeightsCorrupt(
            f"{path.name} of weights {path.parent.name!r} has SHA-256 {found[:12]}…, its card says"
            f" {sha256[:12]}…: the file is truncated or was changed; install the weights again"
        )
    try:
        module.load_state_dict(_as_float(load_file(path)), strict=True)
    except (SafetensorError, RuntimeError) as err:
        raise WeightsCorrupt(
            f"{path.name} of weights {path.parent.name!r} does not fit the network its card names"
        ) from err


def _as_float(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in state.items()
    }
