"""Cross-validation: one run a fold, and what each says of the cells it never saw.

Matek et al. 2019: five folds, stratified by class, each image in exactly one. The directory holds
`fold-1` to `fold-k`; each is a run (`models.training.classifier.run`) with `predictions.csv` of the
cells it held out and `background.csv` of the same cells with the cell hidden.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from models.errors import ModelError
from models.training.classifier.fit import Machines, Saving, fit
from models.training.classifier.recipe import Recipe
from models.training.classifier.run import FINISHED, load_run
from models.training.data.manifest import LabelledCell
from models.training.evaluation.background_control import hide_cell
from models.training.evaluation.crossvalidation import BACKGROUND, PREDICTIONS
from models.training.evaluation.predictions import predict_cells, write_predictions


@dataclass(frozen=True, slots=True)
class Fold:
    """One part of a cross-validation.

    Attributes:
        number: from 1.
        train: cells to learn from.
        held_out: cells the run never sees.
    """

    number: int
    train: tuple[LabelledCell, ...]
    held_out: tuple[LabelledCell, ...]


def plan_folds(cells: Sequence[LabelledCell]) -> list[Fold]:
    """The folds that a prepared manifest names.

    Raises:
        ModelError: a cell has no fold, a fold is missing, there is only one, or a group is in two.
    """
    unprepared = [cell.name or str(cell.path) for cell in cells if cell.fold is None]
    if unprepared or not cells:
        raise ModelError(
            f"{len(unprepared)} of {len(cells)} cells have no fold, the first:"
            f" {unprepared[0] if unprepared else 'none'}: run `smearscan train prepare`"
        )
    numbers = sorted({cell.fold or 0 for cell in cells})
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 2:
        raise ModelError(f"folds are {numbers}, expected 1 to k with k at least 2")
    fold_of: dict[str, int | None] = {}
    for cell in cells:
        if cell.group and fold_of.setdefault(cell.group, cell.fold) != cell.fold:
            raise ModelError(
                f"group {cell.group!r} lies in folds {fold_of[cell.group]} and {cell.fold}:"
                " prepare the manifest anew"
            )
    return [
        Fold(
            number,
            tuple(cell for cell in cells if cell.fold != number),
            tuple(cell for cell in cells if cell.fold == number),
        )
        for number in numbers
    ]


def cross_validate(
    recipe: Recipe,
    cells: Sequence[LabelledCell],
    *,
    out: Path,
    only: Sequence[int] = (),
    machines: Machines | None = None,
    saving: Saving | None = None,
    try_steps: int | None = None,
    quiet: bool = True,
    on_fold: Callable[[Fold], None] | None = None,
) -> None:
    """Fit one run a fold and predict what it held out; what is done is not done again.

    Args:
        recipe: of every run.
        cells: of a prepared manifest.
        out: directory of the cross-validation.
        only: these folds; all if empty. Machines may take one each and share `out`.
        machines: as `fit`.
        saving: as `fit`; crops are decoded once for all folds.
        try_steps: as `fit`: only projections are wanted.
        quiet: no progress bar.
        on_fold: told of each fold before it begins.

    Raises:
        ModelError: as `plan_folds` and `fit`, or there is no such fold.
    """
    machines, saving = machines or Machines(), saving or Saving()
    saving = Saving(saving.crops or out, saving.every_s, saving.every_steps)
    folds = plan_folds(cells)
    if missing := set(only) - {fold.number for fold in folds}:
        raise ModelError(f"there is no fold {sorted(missing)}: the manifest has 1 to {len(folds)}")
    for fold in folds:
        if only and fold.number not in only:
            continue
        if on_fold:
            on_fold(fold)
        run = out / f"fold-{fold.number}"
        if not (run / FINISHED).is_file():
            fit(
                recipe,
                cells,
                held_out=set(fold.held_out),
                out=run,
                machines=machines,
                saving=saving,
                try_steps=try_steps,
                quiet=quiet,
            )
        if try_steps is None:
            _predict(run, fold)


@rank_zero_only
def _predict(run: Path, fold: Fold) -> None:
    """Both lists of predictions, unless they are there.

    Of several processes the first predicts; the others wait for it in the next fold.
    """
    if all((run / name).is_file() for name in (PREDICTIONS, BACKGROUND)):
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = load_run(run, device=device)
    hide = partial(hide_cell, patch_um=classifier.card.patch_um)
    for name, change in ((PREDICTIONS, None), (BACKGROUND, hide)):
        found = predict_cells(classifier, fold.held_out, change=change)
        write_predictions(run / name, found)
