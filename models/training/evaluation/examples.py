"""Held-out cells for the saliency panel: drawn by lot, not picked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from models.errors import ModelError
from models.taxonomy import CODES, CellClass
from models.training.data.crops import read_crops
from models.training.data.manifest import LabelledCell
from models.training.evaluation.crossvalidation import Fold
from models.training.evaluation.figures.saliency_panel import PER_KIND, Example

Choice = tuple[int, LabelledCell, CellClass]
"""Index of the fold, the cell, what the fold's network called it."""

SPARE: Final = 2
"""Further cells drawn of each kind, for files that cannot be read."""


class PanelUnavailable(ModelError):
    """Crops or a fold's network are not where they should be."""


def choose_examples(folds: Sequence[Fold], *, seed: int) -> tuple[Choice, ...]:
    """Per class, cells named rightly and cells named wrongly, by lot, a few spare ones each."""
    rng = np.random.default_rng(seed)
    right: dict[CellClass, list[Choice]] = {code: [] for code in CODES}
    wrong: dict[CellClass, list[Choice]] = {code: [] for code in CODES}
    for index, fold in enumerate(folds):
        said = fold.predictions
        for cell, best in zip(said.cells, said.probabilities.argmax(axis=1), strict=True):
            predicted = CODES[best]
            pool = right if predicted is cell.label else wrong
            pool[cell.label].append((index, cell, predicted))
    chosen: list[Choice] = []
    for code in CODES:
        for found in (right[code], wrong[code]):
            order = rng.permutation(len(found))[: PER_KIND + SPARE]
            chosen += [found[i] for i in order]
    return tuple(chosen)


def explain_examples(
    folds: Sequence[Fold], choices: Sequence[Choice], *, root: Path
) -> tuple[Example, ...]:
    """Patches and plain gradients, each from the network that held the cell out.

    The gradient is of the loss of the class the network named: on a wrong example it shows what
    the network went by, not where it should have looked.

    Args:
        folds: of the cross-validation.
        choices: from `choose_examples`.
        root: directory that the cells' names are relative to.

    Raises:
        PanelUnavailable: none of the files is an image under `root`, or a fold has no checkpoint.
        ModelError: a fold's network cannot be loaded.
    """
    examples: list[Example] = []
    readable_of: dict[int, list[tuple[LabelledCell, CellClass]]] = {}
    kept: dict[tuple[CellClass, bool], int] = {}
    for index, cell, predicted in choices:
        kind = (cell.label, predicted is cell.label)
        here = replace(cell, path=root / cell.name)
        if kept.get(kind, 0) < PER_KIND and read_crops([here], field_um=29.0, px=8)[1]:
            kept[kind] = kept.get(kind, 0) + 1
            readable_of.setdefault(index, []).append((here, predicted))
    if choices and not readable_of:
        raise PanelUnavailable(
            f"no crop can be read, such as {root / choices[0][1].name}: --root must be the"
            " directory that the manifest's paths are relative to"
        )
    from models.saliency import (
        saliency_maps,
    )
    from models.training.classifier.run import CHECKPOINT, load_run

    for index, pairs in sorted(readable_of.items()):
        run = folds[index].directory
        if not (run / CHECKPOINT).is_file():
            raise PanelUnavailable(f"{run} has no {CHECKPOINT}: its network is gone")
        classifier = load_run(run)
        card = classifier.card
        patches, _ = read_crops(
            [cell for cell, _ in pairs], field_um=card.patch_um, px=card.patch_px
        )
        maps = saliency_maps(classifier, patches, [predicted for _, predicted in pairs])
        examples += [
            Example(patch, saliency, cell.label, predicted)
            for patch, saliency, (cell, predicted) in zip(patches, maps, pairs, strict=True)
        ]
    return tuple(examples)
