"""`smearscan train refit`."""

from pathlib import Path

import click

from models.training.options import FOLDER, NEW_FOLDER, manifest_options, with_options


@click.command()
@click.option("--weights", type=FOLDER, required=True, help="Weights whose last layer is refitted.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Weights to write, uncalibrated.")
@with_options(*manifest_options(required=True))
@click.option("--split", default="train", show_default=True, help="Rows to fit on; '' is all.")
@click.option("--recipe", "recipe_name", required=True, help="Recipe whose augmentation is used.")
@click.option("--views", type=click.IntRange(min=1), default=3, show_default=True, help="Per cell.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Views after the first are of each so-manieth cell.",
)
@click.option(
    "--class-power",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    show_default=True,
    help="A class of n cells weighs n to this power; 0 is alike.",
)
@click.option(
    "--strength",
    type=click.FloatRange(min=0, min_open=True),
    default=0.3,
    show_default=True,
    help="Inverse of the ridge penalty.",
)
@click.option("--seed", type=click.IntRange(min=0), default=2019, show_default=True)
def refit_head(
    weights: Path,
    out: Path,
    manifest: Path,
    root: Path,
    split: str,
    recipe_name: str,
    views: int,
    every: int,
    class_power: float,
    strength: float,
    seed: int,
) -> None:
    """Fit the last layer of weights anew, every class and every source of a class alike.

    What the layer is given is kept in OUT, a file a view, and reused when the command is run again
    or with another --class-power or --strength. `smearscan train export --weights OUT` calibrates
    and measures the result.
    """
    from models.allocator import keep_freed_memory
    from models.predictor import Classifier
    from models.training.classifier.export import write_refitted
    from models.training.classifier.head import collect_view, fit_head, replace_head
    from models.training.classifier.recipe import load_recipe
    from models.training.data.manifest import read_manifest
    from models.training.progress import track

    keep_freed_memory()
    cells = read_manifest(manifest, root=root, split=split or None).cells
    classifier = Classifier.load(str(weights.resolve()))
    out.mkdir(parents=True, exist_ok=True)
    how = load_recipe(recipe_name).augmentation
    found = []
    for view in range(views):
        with track(f"view {view + 1} of {views}") as on_progress:
            found.append(
                collect_view(
                    out,
                    classifier,
                    cells,
                    view=view,
                    every=every,
                    how=how,
                    seed=seed,
                    on_progress=on_progress,
                )
            )
    changes = f"changes of {recipe_name}" if views > 1 else "turned, unchanged"
    weight, bias = fit_head(found, cells, class_power=class_power, strength=strength)
    replace_head(classifier.network, weight, bias)
    write_refitted(
        classifier,
        out,
        how=f"last layer refitted on {sum(len(view.cells) for view in found)} views of"
        f" {len(cells)} cells ({changes}),"
        f" a class of n cells weighing n^{class_power:g}, its sources alike, strength {strength:g}",
    )
    click.echo(f"wrote {out}; now: smearscan train export --weights {out} --out …")
