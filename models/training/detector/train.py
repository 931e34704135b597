"""Train, freeze and evaluate one detector: what the commands share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.detector import Detector
from models.nets.heatmap import HeatmapNet
from models.training.detector.canvas import CanvasDataset
from models.training.detector.evaluate import SourceScore, evaluate_fields
from models.training.detector.export import UM_PER_PX, describe_detector, export_detector
from models.training.detector.fields import load_cells, load_fields
from models.training.detector.fit import FitPlan, fit_network
from models.training.detector.sprites import ImageStore
from models.training.detector.stain import StainJitter


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


def train_detector(
    data: DataPaths,
    store: ImageStore,
    plan: FitPlan,
    out: Path,
    *,
    name: str,
    version: str,
    leave_out: Sequence[str] = (),
    resume: bool = False,
    on_epoch: Callable[[int, float], None] | None = None,
) -> dict[str, SourceScore]:
    """Train on the split "train", write weights and card to `out`, evaluate on "val".

    Args:
        data: fields and crops.
        store: their images; may be shared between runs.
        plan: how; its seed decides everything random.
        out: made if need be.
        name: of the weights.
        version: of the weights.
        leave_out: sources not trained on; they are evaluated on both of their splits.
        resume: go on from the last epoch in `out`.
        on_epoch: told the epoch's number (from 1) and its mean loss.

    Returns:
        Scores by source.
    """
    torch.manual_seed(plan.seed)
    network = HeatmapNet()
    fields = load_fields(data.fields, "train", leave_out=leave_out)
    cells = load_cells(data.cells, "train", leave_out=leave_out)
    canvases = CanvasDataset(
        fields, cells, store, um_per_px=UM_PER_PX, jitter=StainJitter(), seed=plan.seed
    )
    out.mkdir(parents=True, exist_ok=True)
    fit_network(network, canvases, plan, out / "checkpoint.pt", resume=resume, on_epoch=on_epoch)
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
