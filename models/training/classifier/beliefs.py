"""What the networks of a cross-validation say of the cells they did not learn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from models.training.classifier.recipe import RecipeError, Teaching
from models.training.data.manifest import LabelledCell
from models.training.evaluation.predictions import read_predictions

PREDICTIONS: Final = "fold-*/predictions.csv"


def read_beliefs(teaching: Teaching, cells: Sequence[LabelledCell]) -> Tensor:
    """Held-out probabilities of cells.

    Args:
        teaching: names the cross-validation.
        cells: each held out by one of its folds.

    Returns:
        Shape (len(cells), 15), float32, rows sum to 1.

    Raises:
        RecipeError: the directory holds no predictions, or none of some of the cells.
        ModelError: a file of it is damaged.
    """
    held_out: dict[str, Tensor] = {}
    for path in sorted(Path(teaching.held_out_by).glob(PREDICTIONS)):
        found = read_predictions(path)
        held_out |= {
            cell.name: row
            for cell, row in zip(found.cells, torch.from_numpy(found.probabilities), strict=True)
        }
    names = [cell.name or str(cell.path) for cell in cells]
    missing = [name for name in names if name not in held_out]
    if missing:
        raise RecipeError(
            f"{teaching.held_out_by} says nothing of {len(missing)} of {len(cells)} cells, the"
            f" first: {missing[0]}: cross-validate these same cells"
            f" (`smearscan train crossval`), every fold"
        )
    return torch.stack([held_out[name] for name in names])
