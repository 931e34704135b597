"""What the networks of a cross-validation say of the cells they did not learn from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.training.classifier.recipe import RecipeError, Teaching
from models.training.data.manifest import LabelledCell
from models.training.evaluation.crossvalidation import read_crossval


def read_beliefs(teaching: Teaching, cells: Sequence[LabelledCell]) -> Tensor:
    """Held-out probabilities of cells.

    Args:
        teaching: names the cross-validation.
        cells: each held out by one of its folds.

    Returns:
        Shape (len(cells), 15), float32, rows sum to 1.

    Raises:
        CrossvalUnusable: the directory does not hold a whole cross-validation.
        RecipeError: it says nothing of some of the cells.
    """
    held_out: dict[str, Tensor] = {}
    for fold in read_crossval(Path(teaching.held_out_by)):
        rows = torch.from_numpy(fold.predictions.probabilities)
        held_out |= {cell.name: row for cell, row in zip(fold.predictions.cells, rows, strict=True)}
    names = [cell.name or str(cell.path) for cell in cells]
    missing = [name for name in names if name not in held_out]
    if missing:
        raise RecipeError(
            f"{teaching.held_out_by} says nothing of {len(missing)} of {len(cells)} cells, the"
            f" first: {missing[0]}: cross-validate these same cells"
            " (`smearscan train crossval`)"
        )
    return torch.stack([held_out[name] for name in names])
