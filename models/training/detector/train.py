"""Train, freeze and evaluate one detector: what the commands share.

First the heat map, then the verifier, which learns from the heat map's peaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from models.catalogue import WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.detector import Detector, DetectorNet
from models.detector_card import load_detector_card
from models.nets.heatmap import HeatmapNet
from models.nets.verifier import VerifierNet
from models.training.detector.candidates import CandidateDataset, join_samples
from models.training.detector.canvas import CanvasDataset
from models.training.detector.evaluate import SourceScore, evaluate_fields
from models.training.detector.export import UM_PER_PX, describe_detector, export_detector
from models.training.detector.fields import load_cells, load_fields
from models.training.detector.fit import (
    FitPlan,
    fit_network,
    heatmap_loss,
    verifier_loss,
)
from models.training.detector.sprites import ImageStore
from models.training.detector.stain import StainJitter
from models.training.imagenet import load_imagenet

CANVAS_PX: Final = 128
CANDIDATE_CANVAS_PX: Final = 160
VERIFIER_SEED: Final = 1000
HEATMAP_CHECKPOINT: Final = "checkpoint.pt"
VERIFIER_CHECKPOINT: Final = "verifier.pt"


@dataclass(frozen=True, slots=True)
class DataPaths:
    """Where the data are.

    Attributes:
        fields: JSON of fields with boxes.
        cells: CSV of crops.
        root: directory that their paths are relative to.
    """

    fields: Path
    cells: Path
    root: Path


@dataclass(frozen=True, slots=True)
class DetectorPlan:
    """How both networks are fitted.

    Attributes:
        heatmap: of the heat map, on canvases of `CANVAS_PX`.
        verifier: of the verifier, on candidates of canvases of `CANDIDATE_CANVAS_PX`.
    """

    heatmap: FitPlan
    verifier: FitPlan


def plan_detector(
    epochs: int, steps: int, verifier_epochs: int, verifier_steps: int, batch: int, seed: int
) -> DetectorPlan:
    """The usual plan at these lengths; the verifier sees other canvases than the heat map did."""
    return DetectorPlan(
        FitPlan(epochs=epochs, steps=steps, batch=batch, seed=seed),
        FitPlan(
            epochs=verifier_epochs,
            steps=verifier_steps,
            batch=batch,
            learning_rate=2e-3,
            weight_decay=1e-2,
            seed=seed + VERIFIER_SEED,
        ),
    )


def train_detector(
    data: DataPaths,
    store: ImageStore,
    plan: DetectorPlan,
    out: Path,
    *,
    name: str,
    version: str,
    leave_out: Sequence[str] = (),
    heatmap_of: str | None = None,
    resume: bool = False,
    on_epoch: Callable[[str, int, float], None] | None = None,
) -> dict[str, SourceScore]:
    """Train on the split "train", write weights and card to `out`, evaluate on "val".

    Args:
        data: fields and crops.
        store: their images; may be shared between runs.
        plan: how; its seeds decide everything random.
        out: made if need be.
        name: of the weights.
        version: of the weights.
        leave_out: sources not trained on; they are evaluated on both of their splits.
        heatmap_of: a detector whose heat map is taken as it is instead of fitting one.
        resume: go on from the last epoch in `out`.
        on_epoch: told which network ("heatmap", "verifier"), the epoch's number (from 1) and its
            mean loss.

    Returns:
        Scores by source.

    Raises:
        WeightsUnavailable, WeightsCorrupt: `heatmap_of` cannot be loaded.
    """
    fields = load_fields(data.fields, "train", leave_out=leave_out)
    cells = load_cells(data.cells, "train", leave_out=leave_out)
    out.mkdir(parents=True, exist_ok=True)

    def canvases(plan: FitPlan, canvas_px: int) -> CanvasDataset:
        return CanvasDataset(
            fields,
            cells,
            store,
            um_per_px=UM_PER_PX,
            jitter=StainJitter(),
            seed=plan.seed,
            canvas_px=canvas_px,
        )

    def tell(part: str) -> Callable[[int, float], None]:
        return lambda epoch, loss: on_epoch(part, epoch, loss) if on_epoch else None

    torch.manual_seed(plan.heatmap.seed)
    network = DetectorNet()
    if heatmap_of is not None:
        network.heatmap = _load_heatmap(heatmap_of)
    else:
        fit_network(
            network.heatmap,
            canvases(plan.heatmap, CANVAS_PX),
            heatmap_loss,
            plan.heatmap,
            out / HEATMAP_CHECKPOINT,
            resume=resume,
            on_epoch=tell("heatmap"),
        )
    torch.manual_seed(plan.verifier.seed)
    network.verifier = VerifierNet()
    load_imagenet(network.verifier, "efficientnet_lite0")
    candidates = CandidateDataset(
        canvases(plan.verifier, CANDIDATE_CANVAS_PX),
        network.heatmap.eval(),
        seed=plan.verifier.seed,
    )
    fit_network(
        network.verifier,
        candidates,
        verifier_loss,
        plan.verifier,
        out / VERIFIER_CHECKPOINT,
        collate=join_samples,
        resume=resume,
        on_epoch=tell("verifier"),
    )
    sources = [field.source for field in fields] + [cell.source for cell in cells]
    card = describe_detector(
        network, name=name, version=version, sources=tuple(dict.fromkeys(sources))
    )
    export_detector(network, card, {}, out)
    unseen = [field for field in load_fields(data.fields, "train") if field.source in leave_out]
    judged = [*load_fields(data.fields, "val"), *unseen]
    scores = evaluate_fields(Detector.load(str(out)), judged, data.root)
    export_detector(network, card, scores, out)
    return scores


def _load_heatmap(name: str) -> HeatmapNet:
    directory = locate_weights(name)
    card = load_detector_card(directory)
    network = DetectorNet(card.width)
    load_weights(network, directory / WEIGHTS_FILE, card.sha256)
    return network.heatmap
