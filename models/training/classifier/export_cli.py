"""`smearscan train export` and `smearscan train import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.training.options import FILE, FOLDER, NEW_FOLDER, manifest_options, with_options

if TYPE_CHECKING:
    from models.training.classifier.export import Validation

_VALIDATION_OPTIONS = (
    click.option("--split", default="val", show_default=True, help="Rows to calibrate on."),
    click.option(
        "--calibrate-on",
        multiple=True,
        help="Sources whose rows set the temperature; by default all in the split.",
    ),
    click.option(
        "--thresholds-on",
        default="",
        help="Source whose rows set the thresholds; by default the one that can.",
    ),
    click.option("--weights-version", default="1", show_default=True),
)
_OUT = click.option(
    "--out",
    type=NEW_FOLDER,
    required=True,
    help="Directory to write, named like the weights.",
)


@click.command()
@click.option("--run", type=FOLDER, help="Directory of a finished run.")
@click.option("--weights", type=FOLDER, help="Weights to measure and calibrate anew, instead.")
@_OUT
@with_options(*manifest_options(required=True), *_VALIDATION_OPTIONS)
def export(
    run: Path | None, weights: Path | None, out: Path, weights_version: str, **options: Any
) -> None:
    """Turn a finished run into weights with a card and golden outputs.

    `--out models/weights/NAME`. Temperature and thresholds are found on validation rows; their
    sensitivity, specificity and calibration error are cross-fitted over patients. Rows whose label
    is not one of the 15 codes show how well such cells are told from the others.
    """
    from models.allocator import keep_freed_memory
    from models.training.classifier.export import export_classifier, recalibrate_classifier

    if (run is None) == (weights is None):
        raise click.UsageError("give --run or --weights")
    keep_freed_memory()
    validation = _read_validation(**options)
    card = (
        export_classifier(run, out, validation=validation, version=weights_version)
        if run
        else recalibrate_classifier(
            weights or out, out, validation=validation, version=weights_version
        )
    )
    click.echo(card.model_dump_json(indent=2))


@click.command()
@click.option(
    "--state",
    type=FILE,
    required=True,
    help="State dict: .pth, .pt, .ckpt (tensors only) or .safetensors.",
)
@click.option(
    "--mapping",
    type=FILE,
    required=True,
    help="TOML: what the file's network is and what its outputs mean.",
)
@_OUT
@with_options(*manifest_options(required=False), *_VALIDATION_OPTIONS)
def import_weights(
    state: Path,
    mapping: Path,
    out: Path,
    manifest: Path | None,
    root: Path | None,
    weights_version: str,
    **options: Any,
) -> None:
    """Turn another program's ResNeXt into weights with a card and golden outputs.

    With --manifest and --root it is calibrated and measured like an export; without, thresholds
    stay at 0.5 and the card says so. Files that hold code are refused.
    """
    from models.allocator import keep_freed_memory
    from models.training.classifier.importing import import_classifier

    if (manifest is None) != (root is None):
        raise click.UsageError("--manifest and --root go together")
    keep_freed_memory()
    card = import_classifier(
        state,
        mapping,
        out,
        validation=_read_validation(manifest=manifest, root=root, **options)
        if manifest and root
        else None,
        version=weights_version,
    )
    click.echo(card.model_dump_json(indent=2))


def _read_validation(
    *,
    manifest: Path,
    root: Path,
    split: str,
    calibrate_on: tuple[str, ...],
    thresholds_on: str,
) -> "Validation":
    from models.training.classifier.export import plan_validation
    from models.training.data.manifest import read_manifest

    rows = read_manifest(manifest, root=root, split=split)
    return plan_validation(
        rows.cells,
        temperature_sources=calibrate_on,
        threshold_source=thresholds_on,
        strangers=rows.strangers,
    )
