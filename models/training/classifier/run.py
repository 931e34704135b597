"""A training run on disk: what it holds, and the network that came out of it.

A run's directory holds `recipe.json` (every choice), `data.json` (cells per source and class),
`last.ckpt` (Lightning's, to resume from) and its logs.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch

from models.card import ClassifierCard, OperatingPoint
from models.errors import ModelError
from models.nets.registry import build_network
from models.predictor import Classifier
from models.taxonomy import CODES
from models.training.classifier.fit import MEAN, PATCH_UM, STD

CHECKPOINT: Final = "last.ckpt"
RECIPE: Final = "recipe.json"
DATA: Final = "data.json"

UNSET: Final = OperatingPoint(threshold=0.5, sensitivity=0, specificity=0, basis="unset")


def load_run(run: Path, *, device: torch.device | str = "cpu") -> Classifier:
    """The network of a finished run, uncalibrated: temperature 1, thresholds unset.

    Raises:
        ModelError: there is no run, or it is not finished.
    """
    recipe = read_record(run, RECIPE)
    counts: dict[str, dict[str, int]] = read_record(run, DATA)["counts"]
    present = {code for source in counts.values() for code in source}
    network = build_network(recipe["network"], len(CODES))
    network.load_state_dict(_network_state(run / CHECKPOINT, recipe["epochs"]))
    card = ClassifierCard(
        name=run.name,
        version="0",
        network=recipe["network"],
        classes=CODES,
        unsupported_classes=tuple(code for code in CODES if code not in present),
        input_px=recipe["input_px"],
        patch_um=PATCH_UM,
        mean=MEAN,
        std=STD,
        temperature=1.0,
        calibration="none",
        blast=UNSET,
        atypical=UNSET,
        training=(),
        recipe=recipe["name"],
        evaluation={},
        limitations=("Straight from training: neither calibrated nor exported.",),
        sha256="0" * 64,
    )
    return Classifier(network, card, device=device)


def read_record(run: Path, name: str) -> Any:
    """`recipe.json` or `data.json` of a run.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        return json.loads((run / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(f"{run} is not a training run: {name} cannot be read: {err}") from err


def _network_state(checkpoint: Path, epochs: int) -> dict[str, torch.Tensor]:
    """The averaged network of a checkpoint this program wrote itself, after all its epochs."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if saved["epoch"] + 1 < epochs:
        raise ModelError(
            f"the run stopped after {saved['epoch'] + 1} of {epochs} epochs: resume it"
        )
    prefix = "network."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in saved["state_dict"].items()
        if name.startswith(prefix)
    }
