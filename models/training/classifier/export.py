"""From a finished training run to weights that can be served: calibrate, measure, write a card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_curve

from models.card import ClassifierCard, OperatingPoint, TrainingSource
from models.checkpoint import CARD_FILE, WEIGHTS_FILE, save_weights
from models.errors import ModelError
from models.nets.registry import build_network
from models.predictor import Classifier
from models.taxonomy import ATYPICAL, BLAST, CODES, INDEX, CellClass
from models.training.data.manifest import LabelledCell
from models.training.evaluation.metrics import group_probability
from models.training.evaluation.predictions import Predictions, predict_cells

SPECIFICITY: Final = 0.95
"""Operating points are set so that at most one in twenty other cells is counted."""

CITATIONS: Final = {
    "deepapl": (
        "no licence granted; images are not redistributed",
        "Sidhom et al. 2021, github sidhomj/DeepAPL; CellaVision, 82 acute-leukemia patients",
    ),
    "pbc": (
        "CC BY 4.0",
        "Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1; CellaVision, healthy donors",
    ),
}


def export_classifier(
    run: Path,
    directory: Path,
    *,
    validation: Sequence[LabelledCell],
    calibration_sources: Sequence[str],
    threshold_source: str,
    version: str,
) -> ClassifierCard:
    """Write `weights.safetensors` and `card.json` of a training run.

    The network is the run's moving average after its last epoch: no epoch is picked on validation
    cells. Temperature and thresholds are found on validation cells, so the calibration error after
    it and the operating points are optimistic; the card says so.

    Args:
        run: directory `fit` wrote, with `last.ckpt`, `recipe.json` and `data.json`.
        directory: to write, named like the weights.
        validation: cells that took no part in training.
        calibration_sources: whose validation cells set the temperature, each with equal weight.
        threshold_source: whose validation cells set the thresholds.
        version: of the weights.

    Raises:
        ModelError: the run is not finished or a source has no cells.
    """
    recipe = json.loads((run / "recipe.json").read_text())
    counts: dict[str, dict[str, int]] = json.loads((run / "data.json").read_text())["counts"]
    present = {code for source in counts.values() for code in source}
    directory.mkdir(parents=True, exist_ok=True)
    network = build_network(recipe["network"], len(CODES))
    epochs = sum(epochs for epochs, _ in recipe["stages"])
    network.load_state_dict(_network_state(run / "last.ckpt", epochs))
    sha256 = save_weights(network, directory / WEIGHTS_FILE)
    unset = OperatingPoint(threshold=0.5, sensitivity=0, specificity=0, basis="unset")
    card = ClassifierCard(
        name=directory.name,
        version=version,
        network=recipe["network"],
        classes=CODES,
        unsupported_classes=tuple(code for code in CODES if code not in present),
        input_px=recipe["stages"][-1][1],
        patch_um=recipe["patch_um"],
        mean=tuple(recipe["mean"]),
        std=tuple(recipe["std"]),
        temperature=1.0,
        calibration="none",
        blast=unset,
        atypical=unset,
        training=tuple(_training_source(name, counts[name]) for name in sorted(counts)),
        recipe=(
            f"{epochs} epochs, input {' → '.join(str(px) for _, px in recipe['stages'])} px, from"
            f" random weights, seed {recipe['seed']}, moving average {recipe['ema_decay']};"
            " last epoch, none picked on validation cells"
        ),
        evaluation={},
        limitations=_limitations(present),
        sha256=sha256,
    )
    predictions = predict_cells(Classifier(network, card), validation)
    temperature = fit_temperature(predictions, calibration_sources)
    calibrated = Predictions(
        predictions.cells,
        sharpen(predictions.probabilities, temperature),
        predictions.unreadable,
    )
    card = card.model_copy(
        update={
            "temperature": temperature,
            "calibration": "one temperature, least log loss on the validation cells of "
            + " and ".join(calibration_sources)
            + " with equal weight; figures on the same cells are optimistic",
            "blast": find_operating_point(calibrated, BLAST, source=threshold_source),
            "atypical": find_operating_point(calibrated, ATYPICAL, source=threshold_source),
            "evaluation": calibrated.per_source(card),
        }
    )
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n")
    return card


def sharpen(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax probabilities at another temperature; a class at 0 stays at 0."""
    powered = probabilities.astype(np.float64) ** (1.0 / temperature)
    scaled: NDArray[np.float32] = (powered / powered.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def fit_temperature(predictions: Predictions, sources: Sequence[str]) -> float:
    """The temperature of least mean log loss, every source weighted equally (Guo et al. 2017)."""
    groups = [_of_source(predictions, source) for source in sources]

    def loss(log_temperature: float) -> float:
        losses = []
        for probabilities, labels in groups:
            scaled = sharpen(probabilities, float(np.exp(log_temperature)))
            right = scaled[np.arange(len(labels)), [INDEX[label] for label in labels]]
            losses.append(float(-np.log(np.maximum(right, 1e-12)).mean()))
        return float(np.mean(losses))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def find_operating_point(
    predictions: Predictions, group: frozenset[CellClass], *, source: str
) -> OperatingPoint:
    """The lowest threshold whose specificity on a source's cells is at least SPECIFICITY."""
    probabilities, labels = _of_source(predictions, source)
    member = [label in group for label in labels]
    fpr, tpr, thresholds = roc_curve(
        member, group_probability(probabilities, group), drop_intermediate=False
    )
    best = np.flatnonzero(fpr <= 1.0 - SPECIFICITY)[-1]
    return OperatingPoint(
        threshold=float(np.clip(thresholds[best], 0.0, 1.0)),
        sensitivity=float(tpr[best]),
        specificity=float(1.0 - fpr[best]),
        basis=f"{len(labels)} validation cells of {source}, {sum(member)} of them in the group;"
        f" lowest threshold with specificity ≥ {SPECIFICITY}, so both figures are optimistic",
    )


def _of_source(
    predictions: Predictions, source: str
) -> tuple[NDArray[np.float32], list[CellClass]]:
    part = predictions.of_source(source)
    if not part.cells:
        raise ModelError(f"no validation cell comes from {source!r}")
    return part.probabilities, part.labels


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


def _training_source(name: str, counts: dict[str, int]) -> TrainingSource:
    licence, citation = CITATIONS.get(name, ("unknown: state it before sharing", name))
    return TrainingSource(
        source=name, cells=sum(counts.values()), licence=licence, citation=citation
    )


def _limitations(present: set[str]) -> tuple[str, ...]:
    missing = ", ".join(code for code in CODES if code not in present)
    return (
        f"No training cells of {missing or 'no class'}: these classes are never named.",
        "Both sources were scanned by CellaVision instruments. Published transfer to other"
        " scanners loses a third to three quarters of macro-F1: expect worse elsewhere.",
        "Labels are a routine laboratory's, one reader each; stain debris sits under some"
        " basophil and eosinophil labels.",
        "Blasts come from one source only, so some of the blast AUC may be the laboratory's look.",
    )
