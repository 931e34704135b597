"""`smearscan train fit | crossval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.training.options import NEW_FOLDER, manifest_options, with_options

if TYPE_CHECKING:
    from models.training.classifier.fit import Machines, Saving

_OPTIONS = (
    *manifest_options(required=True),
    click.option(
        "--out",
        type=NEW_FOLDER,
        required=True,
        help="Directory of the run; the same command again resumes it.",
    ),
    click.option(
        "--recipe",
        "recipe_name",
        default="efficientnet-lite0",
        show_default=True,
        help="A recipe's name, or a TOML file.",
    ),
    click.option(
        "--devices",
        type=click.IntRange(min=1),
        help="Of this machine; all GPUs by default, or the CPU.",
    ),
    click.option(
        "--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines."
    ),
    click.option("--accelerator", default="auto", show_default=True, help="auto, cpu or gpu."),
    click.option(
        "--workers", type=click.IntRange(min=0), help="Processes a device that fetch batches."
    ),
    click.option(
        "--crops",
        type=NEW_FOLDER,
        help="Folder for decoded crops, shared by runs; in the run by default.",
    ),
    click.option(
        "--save-every",
        type=click.FloatRange(min=1),
        default=300.0,
        show_default=True,
        help="Seconds of work a kill can cost.",
    ),
    click.option(
        "--try",
        "try_steps",
        type=click.IntRange(min=8),
        help="Only so many steps, to learn how long the run would take.",
    ),
)


@click.command()
@with_options(*_OPTIONS)
@click.option("--split", default="train", show_default=True, help="Rows to train on; '' is all.")
def fit_classifier(
    manifest: Path,
    root: Path,
    out: Path,
    recipe_name: str,
    split: str,
    try_steps: int | None,
    **options: Any,
) -> None:
    """Train a classifier; run again to resume a stopped run.

    Under torchrun every process starts this same command.
    """
    from models.allocator import keep_freed_memory
    from models.training.classifier.fit import fit
    from models.training.classifier.recipe import load_recipe
    from models.training.data.manifest import read_manifest

    recipe = load_recipe(recipe_name)
    keep_freed_memory()
    cells = read_manifest(manifest, root=root, split=split or None)
    click.echo(f"{len(cells.cells)} cells; left out: {dict(cells.left_out)}", err=True)
    machines, saving = _read_options(**options)
    fit(
        recipe,
        cells.cells,
        out=out,
        machines=machines,
        saving=saving,
        try_steps=try_steps,
        quiet=False,
    )


@click.command()
@with_options(*_OPTIONS)
@click.option("--fold", "folds", type=int, multiple=True, help="Only this fold; may be repeated.")
def cross_validate_classifier(
    manifest: Path,
    root: Path,
    out: Path,
    recipe_name: str,
    folds: tuple[int, ...],
    try_steps: int | None,
    **options: Any,
) -> None:
    """Fit one classifier a fold of a prepared manifest, and predict what it held out.

    Run again to resume. Machines that share --out may take a --fold each.
    """
    from models.allocator import keep_freed_memory
    from models.training.classifier.crossval import cross_validate
    from models.training.classifier.recipe import load_recipe
    from models.training.data.manifest import read_manifest

    recipe = load_recipe(recipe_name)
    keep_freed_memory()
    cells = read_manifest(manifest, root=root)
    machines, saving = _read_options(**options)
    cross_validate(
        recipe,
        cells.cells,
        out=out,
        only=folds,
        machines=machines,
        saving=saving,
        try_steps=try_steps,
        quiet=False,
        on_fold=lambda fold: click.echo(
            f"fold {fold.number}: {len(fold.train)} cells to learn from,"
            f" {len(fold.held_out)} held out",
            err=True,
        ),
    )


def _read_options(
    *,
    devices: int | None,
    nodes: int,
    accelerator: str,
    workers: int | None,
    crops: Path | None,
    save_every: float,
) -> "tuple[Machines, Saving]":
    from models.training.classifier.fit import Machines, Saving

    return (
        Machines(devices=devices, nodes=nodes, workers=workers, accelerator=accelerator),
        Saving(crops=crops, every_s=save_every),
    )
