"""`smearscan train detector-leave-out`: the recipe judged on laboratories it never saw."""

from pathlib import Path
from typing import Final

import click

from models.training.detector.cli import (
    BATCH,
    CELLS,
    EPOCHS,
    FIELDS,
    ROOT,
    SEED,
    STEPS,
    THREADS,
    VERIFIER_EPOCHS,
    VERIFIER_STEPS,
    draw_crops,
    draw_table,
    say_epoch,
)

GROUPS: Final = ("bccd+bcd", "raabin", "pig", "deepapl+pbc")
"""Left out together, one group a run: BCD is cut from BCCD's fields and others; without both kinds
of crops no cell is pasted."""


@click.command()
@FIELDS
@CELLS
@ROOT
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@EPOCHS
@STEPS
@VERIFIER_EPOCHS
@VERIFIER_STEPS
@BATCH
@SEED
@THREADS
@click.option(
    "--group",
    "groups",
    multiple=True,
    default=GROUPS,
    show_default=True,
    help="Sources left out together, joined by +; may be repeated.",
)
@click.option("--resume", is_flag=True, help="Go on from the last epoch of each run in --out.")
def leave_detector_out(
    fields: Path,
    cells: Path,
    root: Path,
    out: Path,
    epochs: int,
    steps: int,
    verifier_epochs: int,
    verifier_steps: int,
    batch: int,
    seed: int,
    threads: int,
    groups: tuple[str, ...],
    resume: bool,
) -> None:
    """Fit once without each group of sources and print its scores there.

    Same recipe, threshold and length every time. Scores are of the sources left out, on their
    split "val" and, below it, on all of their fields; weights go to OUT/GROUP.
    """
    import torch

    from models.allocator import keep_few_kernels, keep_freed_memory
    from models.detector import Detector
    from models.training.detector.evaluate import evaluate_crops, evaluate_fields
    from models.training.detector.fields import load_cells, load_fields
    from models.training.detector.sprites import ImageStore
    from models.training.detector.train import DataPaths, plan_detector, train_detector

    keep_freed_memory()
    keep_few_kernels()
    torch.set_num_threads(threads)
    data, store = DataPaths(fields, cells, root), ImageStore(root)
    plan = plan_detector(epochs, steps, verifier_epochs, verifier_steps, batch, seed)
    for group in groups:
        sources = tuple(group.split("+"))
        scores = train_detector(
            data,
            store,
            plan,
            out / group,
            name=f"without-{group}",
            version="0",
            leave_out=sources,
            resume=resume,
            on_epoch=say_epoch,
        )
        detector = Detector.load(str(out / group))
        val = [field for field in load_fields(fields, "val") if field.source in sources]
        held = evaluate_fields(detector, val, root)
        click.echo(f"without {group}, split val:\n{draw_table(held)}")
        crops = [cell for cell in load_cells(cells, "val") if cell.source in sources]
        if crops:
            click.echo(draw_crops(evaluate_crops(detector, crops, root)))
        click.echo(f"without {group}, all of its fields and the others' val:\n{draw_table(scores)}")
