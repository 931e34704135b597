"""A training run on disk: what it holds, and the network that came out of it.

A run's directory holds `recipe.json` (every choice), `data.json` (which cells), `last.ckpt` (to
resume from), `projection.json`, `logs/`, and when it is over `finished.json`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from models.card import ClassifierCard, OperatingPoint
from models.errors import ModelError
from models.nets.registry import build_network
from models.predictor import Classifier
from models.taxonomy import CODES
from models.training.classifier.recipe import Recipe, recipe_from_record
from models.training.data.manifest import LabelledCell

CHECKPOINT: Final = "last.ckpt"
RECIPE: Final = "recipe.json"
DATA: Final = "data.json"
PROJECTION: Final = "projection.json"
FINISHED: Final = "finished.json"

UNSET: Final = OperatingPoint(threshold=0.5, sensitivity=0, specificity=0, basis="unset")


class RunError(ModelError):
    """A directory is not a run, is one of another recipe or data, or is not finished."""


def begin_run(
    run: Path,
    recipe: Recipe,
    cells: Sequence[LabelledCell],
    unreadable: Sequence[LabelledCell],
) -> None:
    """Write what a run is made of, or check that the run that is there is made of the same.

    Raises:
        RunError: the directory holds a run of another recipe or other cells.
    """
    run.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counter[str]] = {}
    for cell in cells:
        counts.setdefault(cell.source, Counter())[cell.label] += 1
    data = {
        "cells": len(cells),
        "sha256": digest_cells(cells),
        "counts": counts,
        "unreadable": [cell.name or cell.path.name for cell in unreadable],
    }
    for name, record in ((RECIPE, recipe.as_record()), (DATA, data)):
        text = json.dumps(record, indent=2, sort_keys=name == DATA) + "\n"
        path = run / name
        if not path.is_file():
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            raise RunError(
                f"{run} holds a run with another {name.removesuffix('.json')}:"
                " resume it with what it began with, or name a new directory"
            )


def digest_cells(cells: Sequence[LabelledCell]) -> str:
    """SHA-256 of the cells' names, labels and scales, in their order."""
    digest = hashlib.sha256()
    for cell in cells:
        digest.update(f"{cell.name or cell.path} {cell.label} {cell.um_per_px:.10g}\n".encode())
    return digest.hexdigest()


def read_recipe(run: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        RunError: it is missing or damaged.
        RecipeError: it is of another version of smearscan.
    """
    record = read_record(run, RECIPE)
    return recipe_from_record(record, where=f"{run.name}/{RECIPE}")


def read_record(run: Path, name: str) -> Any:
    """One of a run's JSON files.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads((run / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise RunError(f"{run} is not a training run: {name} cannot be read ({err})") from err


def load_run(run: Path, *, device: torch.device | str = "cpu") -> Classifier:
    """The network of a finished run, uncalibrated: temperature 1, thresholds unset.

    Raises:
        RunError: there is no run, or it is not finished.
    """
    recipe = read_recipe(run)
    if not (run / FINISHED).is_file():
        raise RunError(f"{run} is not finished: the same command resumes it")
    counts: dict[str, dict[str, int]] = read_record(run, DATA)["counts"]
    present = {code for source in counts.values() for code in source}
    network = build_network(recipe.network, len(CODES))
    saved = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    network.load_state_dict(
        {name.removeprefix(prefix): t for name, t in saved.items() if name.startswith(prefix)}
    )
    card = ClassifierCard(
        name=run.name,
        version="0",
        network=recipe.network,
        classes=CODES,
        unsupported_classes=tuple(code for code in CODES if code not in present),
        input_px=recipe.input_px,
        patch_um=recipe.patch_um,
        mean=recipe.mean,
        std=recipe.std,
        temperature=1.0,
        calibration="none",
        blast=UNSET,
        atypical=UNSET,
        training=(),
        recipe=recipe.name,
        evaluation={},
        limitations=("Straight from training: neither calibrated nor exported.",),
        sha256="0" * 64,
    )
    return Classifier(network, card, device=device)
