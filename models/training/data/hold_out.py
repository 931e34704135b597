"""A part of the cells that takes no part in training, in whole groups."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import ModelError
from models.training.data.manifest import LabelledCell


def hold_out(cells: Sequence[LabelledCell], *, share: float, seed: int) -> set[int]:
    """Indices of about `share` of the cells, of each class about alike.

    Cells of one unit (`LabelledCell.unit`) stay together.

    Raises:
        ModelError: there are too few groups to keep one and train on the others.
    """
    groups = [cell.unit for cell in cells]
    splits = max(2, round(1.0 / share))
    if len(set(groups)) < splits:
        raise ModelError(
            f"{len(set(groups))} groups of cells cannot spare a share of {share:g}:"
            f" early stopping needs at least {splits}"
        )
    labels = [cell.label for cell in cells]
    splitter = StratifiedGroupKFold(splits, shuffle=True, random_state=seed)
    _, kept = next(splitter.split(np.zeros(len(cells)), labels, groups))
    return {int(index) for index in kept}
