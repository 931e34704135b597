"""`smearscan train detector` and `smearscan train evaluate-detector`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.training.options import FILE, FOLDER, NEW_FOLDER

if TYPE_CHECKING:
    from models.training.detector.evaluate import CropScore, SourceScore

FIELDS = click.option(
    "--fields",
    type=FILE,
    required=True,
    help="JSON: a list of {path, source, split, um_per_px, boxes [[kind, x0, y0, x1, y1]]}.",
)
CELLS = click.option(
    "--cells",
    type=FILE,
    required=True,
    help="CSV: path,source,label,patient,split,um_per_px; crops with the cell at the centre.",
)
ROOT = click.option(
    "--root",
    type=FOLDER,
    required=True,
    help="Directory that paths are relative to.",
)
EPOCHS = click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Of the heat map.",
)
VERIFIER_EPOCHS = click.option(
    "--verifier-epochs",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Of the verifier.",
)
STEPS = click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="An epoch of the heat map: so many batches.",
)
VERIFIER_STEPS = click.option(
    "--verifier-steps",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="The same of the verifier.",
)
BATCH = click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Canvases a step, of either network.",
)
COUNTS = ("cells", "found")
SEED = click.option("--seed", type=int, default=20, show_default=True)
THREADS = click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)


@click.command()
@FIELDS
@CELLS
@ROOT
@click.option("--out", type=NEW_FOLDER, required=True)
@click.option("--name", default="leukocyte-detector", show_default=True, help="Of the weights.")
@click.option("--version", "version_", default="1", show_default=True, help="Of the weights.")
@EPOCHS
@STEPS
@VERIFIER_EPOCHS
@VERIFIER_STEPS
@BATCH
@SEED
@THREADS
@click.option("--leave-out", multiple=True, help="A source not to train on; may be repeated.")
@click.option(
    "--heatmap-of",
    default=None,
    help="Name or directory of a detector whose heat map is kept; only a verifier is fitted.",
)
@click.option("--resume", is_flag=True, help="Go on from the last epoch in --out.")
def fit_detector(
    fields: Path,
    cells: Path,
    root: Path,
    out: Path,
    name: str,
    version_: str,
    epochs: int,
    steps: int,
    verifier_epochs: int,
    verifier_steps: int,
    batch: int,
    seed: int,
    threads: int,
    leave_out: tuple[str, ...],
    heatmap_of: str | None,
    resume: bool,
) -> None:
    """Fit the leukocyte detector; writes weights and card to OUT.

    First the heat map, then the verifier, which learns from the heat map's peaks. Trains on the
    split "train", evaluates on "val". A source left out of training is evaluated on both of its
    splits.
    """
    import torch

    from models.allocator import keep_few_kernels, keep_freed_memory
    from models.training.detector.sprites import ImageStore
    from models.training.detector.train import DataPaths, plan_detector, train_detector

    keep_freed_memory()
    keep_few_kernels()
    torch.set_num_threads(threads)
    scores = train_detector(
        DataPaths(fields, cells, root),
        ImageStore(root),
        plan_detector(epochs, steps, verifier_epochs, verifier_steps, batch, seed),
        out,
        name=name,
        version=version_,
        leave_out=leave_out,
        heatmap_of=heatmap_of,
        resume=resume,
        on_epoch=say_epoch,
    )
    click.echo(draw_table(scores))


@click.command()
@FIELDS
@ROOT
@click.option("--weights", default=None, help="Name or directory; default the served ones.")
@click.option("--split", default="val", show_default=True)
@click.option(
    "--cells",
    type=FILE,
    default=None,
    help="CSV: path,source,label,patient,split,um_per_px; also look for the cells of these crops.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def evaluate_detector(
    fields: Path, root: Path, weights: str | None, split: str, cells: Path | None, as_json: bool
) -> None:
    """Recall and precision on fields, each source on its own, one frozen configuration.

    A detection finds a box that holds its centre, one-to-one, best score first. Boxes cut by the
    field's edge count like any other, except rims narrower than 4 µm. Of a crop, the cell at its
    centre is looked for.
    """
    from models.allocator import keep_freed_memory
    from models.catalogue import DEFAULT_DETECTOR
    from models.detector import Detector
    from models.training.detector.evaluate import evaluate_crops, evaluate_fields
    from models.training.detector.export import summarise_score
    from models.training.detector.fields import load_cells, load_fields

    keep_freed_memory()
    detector = Detector.load(weights or DEFAULT_DETECTOR)
    scores = evaluate_fields(detector, load_fields(fields, split), root)
    crops = evaluate_crops(detector, load_cells(cells, split), root) if cells else {}
    if as_json:
        card = detector.card
        result = {
            "weights": {"name": card.name, "version": card.version, "sha256": card.sha256},
            "threshold": card.threshold,
            "split": split,
            "sources": {source: summarise_score(score) for source, score in scores.items()},
            "crops": [
                {"source": source, "label": label, "cells": score.cells, "found": score.found}
                for (source, label), score in crops.items()
            ],
        }
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(draw_table(scores))
        if crops:
            click.echo(draw_crops(crops))


def say_epoch(network: str, epoch: int, loss: float) -> None:
    """One line, as an epoch ends."""
    click.echo(f"{network}: epoch {epoch} loss {loss:.3f}")


def draw_table(scores: "dict[str, SourceScore]") -> str:
    """Scores as lines of text, one a source."""
    rows = [
        f"{'source':10}{'fields':>8}{'cells':>8}{'recall':>9}{'precision':>11}{'false/field':>13}"
    ]
    for source, score in scores.items():
        recall = f"{score.recall:.3f}" if score.leukocytes else "-"
        precision = f"{score.precision:.3f}" if score.leukocytes else "-"
        rows.append(
            f"{source:10}{score.fields:8}{score.leukocytes:8}{recall:>9}{precision:>11}"
            f"{score.false_per_field:13.2f}"
        )
    return "\n".join(rows)


def draw_crops(scores: "dict[tuple[str, str], CropScore]") -> str:
    """Recall on crops as lines of text: of each source as a whole, then of its labels."""
    rows = [f"{'crops of':10}{'label':>14}{'cells':>8}{'recall':>9}"]
    for source in dict.fromkeys(source for source, _ in scores):
        own = {label: score for (of, label), score in scores.items() if of == source}
        cells, found = (sum(getattr(score, name) for score in own.values()) for name in COUNTS)
        rows.append(f"{source:10}{'all':>14}{cells:8}{found / cells:9.3f}")
        rows += [
            f"{source:10}{label:>14}{score.cells:8}{score.recall:9.3f}"
            for label, score in own.items()
        ]
    return "\n".join(rows)
