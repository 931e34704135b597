"""`smearscan train …`: training and evaluation from the command line."""

import json
from pathlib import Path
from typing import Any

import click

from models.errors import ModelError
from models.training.data.cli import prepare
from models.training.detector.cli import evaluate_detector, fit_detector
from models.training.detector.leave_out import leave_detector_out
from models.training.evaluation.human import human


class TrainGroup(click.Group):
    """Says what is wrong with weights or a manifest in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; a `ModelError` becomes a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except ModelError as err:
            raise click.ClickException(str(err)) from err


@click.group(cls=TrainGroup)
def train() -> None:
    """Train and evaluate the networks (extra `train`)."""


train.add_command(prepare)
train.add_command(human)
train.add_command(fit_detector, "detector")
train.add_command(leave_detector_out, "detector-leave-out")
train.add_command(evaluate_detector, "evaluate-detector")

_MANIFEST = click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="CSV: path,source,label,patient,split,um_per_px.",
)
_ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Directory that the manifest's paths are relative to.",
)


@train.command()
@_MANIFEST
@_ROOT
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--recipe", "recipe_name", default="served-cpu", show_default=True)
@click.option("--split", default="train", show_default=True, help="Rows to train on.")
def fit(manifest: Path, root: Path, out: Path, recipe_name: str, split: str) -> None:
    """Train a classifier; run again to resume a stopped run."""
    from models.allocator import keep_freed_memory
    from models.training.classifier.fit import fit as fit_classifier
    from models.training.classifier.recipe import RECIPES
    from models.training.data.manifest import read_manifest

    if recipe_name not in RECIPES:
        raise click.BadParameter(f"{recipe_name!r}; known: {', '.join(RECIPES)}")
    keep_freed_memory()
    cells = read_manifest(manifest, root=root, split=split)
    click.echo(f"{len(cells.cells)} cells; left out: {dict(cells.left_out)}", err=True)
    fit_classifier(RECIPES[recipe_name], cells, out=out)


@train.command()
@click.option("--run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@_MANIFEST
@_ROOT
@click.option("--split", default="val", show_default=True, help="Rows to calibrate on.")
@click.option("--calibrate-on", multiple=True, default=("deepapl", "pbc"), show_default=True)
@click.option("--thresholds-on", default="deepapl", show_default=True)
@click.option("--weights-version", default="1", show_default=True)
def export(
    run: Path,
    out: Path,
    manifest: Path,
    root: Path,
    split: str,
    calibrate_on: tuple[str, ...],
    thresholds_on: str,
    weights_version: str,
) -> None:
    """Turn a finished run into weights with a card: `--out models/weights/NAME`."""
    from models.allocator import keep_freed_memory
    from models.training.classifier.export import export_classifier
    from models.training.data.manifest import read_manifest

    keep_freed_memory()
    card = export_classifier(
        run,
        out,
        validation=read_manifest(manifest, root=root, split=split).cells,
        calibration_sources=calibrate_on,
        threshold_source=thresholds_on,
        version=weights_version,
    )
    click.echo(card.model_dump_json(indent=2))


@train.command()
@click.option("--weights", default="default", show_default=True, help="Name or directory.")
@_MANIFEST
@_ROOT
@click.option("--split", default=None, help="Only these rows; by default all but 'train'.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def evaluate(weights: str, manifest: Path, root: Path, split: str | None, as_json: bool) -> None:
    """Accuracy, balanced accuracy, macro-F1 and AUCs, per source.

    Rows of the split 'train' are never evaluated unless asked for by --split. Rows whose label is
    not one of the 15 codes are left out and counted.
    """
    from models.allocator import keep_freed_memory
    from models.predictor import Classifier
    from models.training.data.manifest import read_manifest
    from models.training.evaluation.predictions import predict_cells
    from models.training.progress import track

    keep_freed_memory()
    rows = read_manifest(
        manifest, root=root, split=split, leave_out_split=None if split else "train"
    )
    classifier = Classifier.load(weights)
    with track("classifying", quiet=as_json) as on_progress:
        predictions = predict_cells(classifier, rows.cells, on_progress=on_progress)
    figures = predictions.per_source(classifier.card)
    result = {
        "weights": classifier.card.name,
        "version": classifier.card.version,
        "sha256": classifier.card.sha256,
        "unsupported_classes": list(classifier.card.unsupported_classes),
        "left_out": dict(rows.left_out),
        "sources": {name: record.model_dump() for name, record in figures.items()},
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    from models.training.evaluation.tables import print_evaluation

    print_evaluation(result)
