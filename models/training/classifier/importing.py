"""Networks that other programs trained, made into weights with a card.

A state dict is read without running what a pickle may hold, its tensors are given the names of the
registered network, and its outputs are put into the order of the taxonomy.
"""

import argparse
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.card import ClassifierCard, OperatingPoint, TrainingSource
from models.errors import ModelError
from models.nets.registry import build_network
from models.predictor import Classifier
from models.taxonomy import CODES, INDEX, CellClass
from models.training.classifier.export import Validation, write_weights
from models.training.classifier.mapping import DROPPED, Mapping, read_mapping

HALF_MAX: Final = torch.finfo(torch.float16).max
SHOWN: Final = 5
"""Names listed in a message before the rest is counted."""

HARMLESS: Final[tuple[Any, ...]] = (
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
)
"""Beside tensors, what training scripts leave in checkpoints: their arguments, a NumPy number."""

State = dict[str, Tensor]


class StateError(ModelError):
    """A state dict cannot be read safely, or does not fit the network its mapping names."""


def import_classifier(
    state: Path,
    mapping: Path,
    directory: Path,
    *,
    validation: Validation | None = None,
    version: str = "1",
) -> ClassifierCard:
    """Write `weights.safetensors`, `golden.json` and `card.json` of a foreign network.

    Args:
        state: `.safetensors`, or what `torch.save` wrote, of tensors alone.
        mapping: TOML file of `models.training.classifier.mapping.Mapping`.
        directory: to write, named like the weights.
        validation: cells the network was not trained on, to calibrate and measure it; None leaves
            temperature 1 and thresholds of 0.5.
        version: of the weights.

    Raises:
        MappingError: the mapping is not valid.
        StateError: the file holds code or does not fit; names and shapes are listed.
        CalibrationError: the validation cells cannot set a temperature or a threshold.
    """
    described = read_mapping(mapping)
    tensors = rename_tensors(read_state(state, key=described.state_key), described)
    network = build_network(described.network, len(CODES))
    network.load_state_dict(fit_tensors(tensors, described))
    return write_weights(
        Classifier(network, _draft_card(described, state.name, version)),
        directory,
        validation=validation,
        changes={},
    )


def read_state(path: Path, *, key: str = "") -> State:
    """The named tensors of a file.

    Args:
        path: `.safetensors`, or any other suffix for what `torch.save` wrote.
        key: of the dict that holds the tensors, where it is nested.

    Raises:
        StateError: the file is damaged, holds anything but tensors, or has no such key.
    """
    try:
        if path.suffix == ".safetensors":
            held: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(list(HARMLESS)):
                held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        found = re.search(r"GLOBAL (\S+)", str(err))
        raise StateError(
            f"{path.name} is no plain state dict{f': it holds {found[1]}' if found else ''}. It"
            " could run code when read, so it is not read: where it comes from, save the tensors"
            " alone with torch.save(model.state_dict(), …) or as safetensors"
        ) from err
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as err:
        raise StateError(f"{path.name} cannot be read as a state dict: {err}") from err
    if key:
        if not isinstance(held, dict) or key not in held:
            raise StateError(f"{path.name} has no {key!r}; it has {_list(_keys(held))}: state_key")
        held = held[key]
    if not isinstance(held, dict) or not held:
        raise StateError(f"{path.name} holds {type(held).__name__}, not a dict of tensors")
    others = [name for name, value in held.items() if not isinstance(value, Tensor)]
    if others:
        raise StateError(
            f"{path.name} holds more than tensors: {_list(others)}: name the dict that holds the"
            " tensors as state_key in the mapping"
        )
    return {str(name): tensor for name, tensor in held.items()}


def rename_tensors(state: State, mapping: Mapping) -> State:
    """Strip prefixes, apply the rules, leave out what is ignored.

    Raises:
        StateError: two tensors come to the same name.
    """
    renamed: State = {}
    came_from: dict[str, str] = {}
    for name, tensor in state.items():
        new = name
        while prefix := next((p for p in mapping.strip if new.startswith(p)), ""):
            new = new.removeprefix(prefix)
        for rule in mapping.rename:
            try:
                new = re.sub(rule.pattern, rule.to, new)
            except (re.error, IndexError) as err:
                raise StateError(f"rename to {rule.to!r} cannot be applied: {err}") from err
        if any(re.fullmatch(pattern, new) for pattern in mapping.ignore):
            continue
        if new in renamed:
            raise StateError(f"{came_from[new]} and {name} both become {new}: strip, rename")
        renamed[new], came_from[new] = tensor, name
    return renamed


def fit_tensors(state: State, mapping: Mapping) -> State:
    """The tensors as the 15-class network has them, in float32.

    Outputs are put into taxonomy order, a class without an output gets a row of zeros, and a
    network that takes BGR has its first convolution's input turned to RGB.

    Raises:
        StateError: names or shapes differ from the network's, or a value is not finite or too
            large for half precision.
    """
    with torch.device("meta"):
        network = build_network(mapping.network, len(mapping.classes))
    expected = network.state_dict()
    state = dict(state)
    for name in expected.keys() - state.keys():
        if name.endswith("num_batches_tracked"):  # unknown to PyTorch before 0.4.1; not used
            state[name] = torch.zeros((), dtype=torch.long)
    head, stem = _head(network, len(mapping.classes)), _stem(network)
    _check_names(state, expected)
    outputs = state[f"{head}.weight"].shape[:1].numel()
    if outputs != len(mapping.classes):
        raise StateError(
            f"{head}.weight has {outputs} outputs, the mapping names {len(mapping.classes)}"
            ' classes: list one code, or "", for each output'
        )
    _check_values(state, expected)
    fitted = {n: t.float() if t.is_floating_point() else t for n, t in state.items()}
    for name in (f"{head}.weight", f"{head}.bias"):
        ordered = fitted[name].new_zeros(len(CODES), *fitted[name].shape[1:])
        for output, code in enumerate(mapping.classes):
            if code != DROPPED:
                ordered[INDEX[CellClass(code)]] = fitted[name][output]
        fitted[name] = ordered
    if mapping.channels == "BGR":
        fitted[stem] = fitted[stem].flip(1)
    return fitted


def _head(network: nn.Module, outputs: int) -> str:
    """Name of the linear layer that gives the outputs: the last."""
    names: list[str] = [
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear) and part.out_features == outputs
    ]
    return names[-1]


def _stem(network: nn.Module) -> str:
    """Name of the weight of the first convolution."""
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    return f"{names[0]}.weight"


def _check_names(state: State, expected: dict[str, Any]) -> None:
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    if missing or unexpected:
        raise StateError(
            f"tensors missing: {_list(sorted(missing))}; not expected: {_list(sorted(unexpected))}:"
            " the mapping's network, strip, rename or ignore"
        )


def _check_values(state: State, expected: dict[str, Any]) -> None:
    wrong = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if state[name].shape != expected[name].shape
    ]
    if wrong:
        raise StateError(f"shapes do not fit the network: {_list(wrong)}")
    unusable = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point()
        and not (
            bool(tensor.isfinite().all())
            and ("running_" in name or float(tensor.abs().max()) <= HALF_MAX)
        )
    ]
    if unusable:
        raise StateError(
            f"values not finite or above {HALF_MAX:g}, which half precision cannot hold:"
            f" {_list(unusable)}"
        )


def _draft_card(mapping: Mapping, file: str, version: str) -> ClassifierCard:
    unset = OperatingPoint(
        threshold=0.5,
        sensitivity=0,
        specificity=0,
        basis="not measured: imported without validation cells",
    )
    missing = ", ".join(mapping.unsupported)
    limits = ["Trained elsewhere: what it was trained on is known from its citation alone."]
    if missing:
        limits.append(f"No output for {missing}: these classes are never named.")
    return ClassifierCard(
        name=mapping.name,
        version=version,
        network=mapping.network,
        classes=CODES,
        unsupported_classes=mapping.unsupported,
        input_px=mapping.input_px,
        patch_um=mapping.patch_um,
        mean=mapping.mean,
        std=mapping.std,
        temperature=1.0,
        calibration="none: imported without validation cells",
        blast=unset,
        atypical=unset,
        training=(
            TrainingSource(
                source=mapping.name,
                cells=mapping.training_cells,
                licence=mapping.licence,
                citation=mapping.citation,
            ),
        ),
        recipe=f"imported from {file}",
        evaluation={},
        limitations=tuple(limits),
        sha256="0" * 64,
    )


def _keys(held: Any) -> list[str]:
    return [str(name) for name in held] if isinstance(held, dict) else [type(held).__name__]


def _list(names: Iterable[str]) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return (", ".join(listed[:SHOWN]) or "none") + more
