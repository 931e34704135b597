"""`smearscan train …`: training and evaluation from the command line."""

from pathlib import Path
from typing import Any

import click

from models.errors import ModelError
from models.training.classifier.cli import cross_validate_classifier, fit_classifier
from models.training.data.cli import prepare
from models.training.detector.cli import evaluate_detector, fit_detector
from models.training.detector.leave_out import leave_detector_out
from models.training.evaluation.cli import evaluate
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


train.add_command(fit_classifier, "fit")
train.add_command(cross_validate_classifier, "crossval")
train.add_command(prepare)
train.add_command(human)
train.add_command(fit_detector, "detector")
train.add_command(leave_detector_out, "detector-leave-out")
train.add_command(evaluate_detector, "evaluate-detector")
train.add_command(evaluate)

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
