"""A finished cross-validation on disk: what every fold's network said of the cells held out of it.

`fold-1` … `fold-k` each hold `predictions.csv`, `background.csv` (the same cells hidden),
`recipe.json` and `data.json`, beside the training run itself.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.errors import ModelError
from models.taxonomy import CODES, CellClass
from models.training.evaluation.predictions import Predictions, read_predictions

PREDICTIONS: Final = "predictions.csv"
BACKGROUND: Final = "background.csv"
FOLD_NAME: Final = re.compile(r"fold-([1-9][0-9]*)")


class CrossvalUnusable(ModelError):
    """A directory does not hold a whole cross-validation."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One network and the cells it has not seen.

    Attributes:
        number: from 1.
        directory: of the training run.
        predictions: of the held-out cells.
        background: of the same cells, in the same order, each hidden in its patch.
        unsupported: classes without a training cell in this fold.
        recipe: `recipe.json`.
        data: `data.json`.
    """

    number: int
    directory: Path
    predictions: Predictions
    background: Predictions
    unsupported: frozenset[CellClass]
    recipe: dict[str, Any]
    data: dict[str, Any]


def read_crossval(directory: Path) -> tuple[Fold, ...]:
    """Read every fold and check that each cell is held out exactly once.

    Raises:
        CrossvalUnusable: a fold or file of it is missing or damaged, a cell is held out twice, or
            a fold's control is of other cells.
    """
    numbers = sorted(
        int(match[1])
        for path in (directory.iterdir() if directory.is_dir() else ())
        if path.is_dir() and (match := FOLD_NAME.fullmatch(path.name))
    )
    if not numbers:
        raise CrossvalUnusable(f"{directory} holds no fold-1: run `smearscan train crossval`")
    if missing := sorted(set(range(1, numbers[-1] + 1)) - set(numbers)):
        raise CrossvalUnusable(
            f"{directory} has fold-{numbers[-1]} but lacks fold-{missing[0]}: run `smearscan train"
            " crossval` again to finish it"
        )
    folds = tuple(_read_fold(directory / f"fold-{number}", number) for number in numbers)
    _check_each_cell_once(folds)
    return folds


def _read_fold(directory: Path, number: int) -> Fold:
    for name in (PREDICTIONS, BACKGROUND):
        if not (directory / name).is_file():
            raise CrossvalUnusable(
                f"{directory} lacks {name}: the fold is not finished; run `smearscan train"
                " crossval` again"
            )
    data = _read_record(directory / "data.json")
    counts = data.get("counts")
    if not isinstance(counts, dict):
        raise CrossvalUnusable(f"{directory / 'data.json'} has no counts of the training cells")
    trained = {code for source in counts.values() for code, n in source.items() if n}
    predictions = read_predictions(directory / PREDICTIONS)
    background = read_predictions(directory / BACKGROUND)
    if _names(predictions) != _names(background):
        raise CrossvalUnusable(f"{directory}: {BACKGROUND} is not of the cells of {PREDICTIONS}")
    return Fold(
        number=number,
        directory=directory,
        predictions=predictions,
        background=background,
        unsupported=frozenset(code for code in CODES if code not in trained),
        recipe=_read_record(directory / "recipe.json"),
        data=data,
    )


def _check_each_cell_once(folds: Sequence[Fold]) -> None:
    seen: dict[str, int] = {}
    for fold in folds:
        for name in _names(fold.predictions):
            if name in seen:
                raise CrossvalUnusable(
                    f"{name} is held out of fold {seen[name]} and of fold {fold.number}: a cell"
                    " belongs to one fold; prepare the manifest again"
                )
            seen[name] = fold.number
    if not seen:
        raise CrossvalUnusable("no fold holds a cell that could be read")


def _names(predictions: Predictions) -> list[str]:
    return [cell.name for cell in predictions.cells]


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CrossvalUnusable(f"{path} cannot be read: {err}") from err
    if not isinstance(record, dict):
        raise CrossvalUnusable(f"{path} does not hold a JSON object")
    return record
