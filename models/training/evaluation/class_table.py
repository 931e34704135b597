"""Table 1 of the paper: precision, sensitivity and specificity of every class over the folds."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.taxonomy import CODES, NAMES
from models.training.evaluation.operating import describe_proportion
from models.training.evaluation.records import ClassRow, Rate

Counts = NDArray[np.int64]
"""Shape (15, 15): rows true, columns predicted."""

RATES: Final = ("precision", "sensitivity", "specificity")


def count_confusion(truth: NDArray[np.intp], predicted: NDArray[np.intp]) -> Counts:
    """Cells by true and predicted class, both of shape (N,), in taxonomy order."""
    k = len(CODES)
    return np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


def tabulate_classes(confusions: Sequence[Counts]) -> tuple[ClassRow, ...]:
    """A row for every class, from each fold's confusion matrix.

    A fold without a cell of a class gives it no sensitivity, a fold in which it is never predicted
    no precision: such folds are left out of mean and standard deviation (n − 1), and `folds` says
    which.
    """
    pooled = np.sum(confusions, axis=0)
    return tuple(
        ClassRow(
            code=code,
            images=int(pooled[index].sum()),
            precision=_rate(confusions, pooled, index, _precision),
            sensitivity=_rate(confusions, pooled, index, _sensitivity),
            specificity=_rate(confusions, pooled, index, _specificity),
        )
        for index, code in enumerate(CODES)
    )


def write_class_table(path: Path, rows: Sequence[ClassRow]) -> None:
    """As CSV: per rate mean, sd, folds that define it, and the pooled count with its interval."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        parts = ("mean", "sd", "folds", "count", "total", "pooled", "ci95_low", "ci95_high")
        writer.writerow(
            ["code", "name", "images", *(f"{rate}_{part}" for rate in RATES for part in parts)]
        )
        for row in rows:
            values: list[object] = [row.code, NAMES[row.code], row.images]
            for name in RATES:
                rate: Rate = getattr(row, name)
                low, high = rate.pooled.ci95 or (None, None)
                values += [rate.fold_mean, rate.fold_sd, _defined(rate)]
                values += [rate.pooled.count, rate.pooled.total, rate.pooled.value, low, high]
            writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in values])


def format_class_table(rows: Sequence[ClassRow], *, folds: int) -> str:
    """As two Markdown tables: mean ± sd over folds, and pooled counts with exact intervals."""
    lines = ["| class | images | precision | sensitivity | specificity |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        rates = " | ".join(_format_spread(getattr(row, name), folds=folds) for name in RATES)
        lines.append(f"| {row.code} {NAMES[row.code]} | {row.images} | {rates} |")
    lines += ["", "Mean ± standard deviation (n − 1) over the folds that define the figure; in"]
    lines += ["brackets how many do, where it is not every fold. –: none does.", ""]
    lines += ["| class | precision | sensitivity | specificity |", "|---|--:|--:|--:|"]
    for row in rows:
        rates = " | ".join(_format_pooled(getattr(row, name)) for name in RATES)
        lines.append(f"| {row.code} | {rates} |")
    lines += [
        "",
        "Pooled held-out cells with exact 95 % intervals (cells taken as independent).",
        "",
    ]
    return "\n".join(lines)


def spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation (n − 1) of the defined values; None for want of 1, of 2."""
    defined = [value for value in values if value is not None]
    mean = float(np.mean(defined)) if defined else None
    return mean, float(np.std(defined, ddof=1)) if len(defined) > 1 else None


def _rate(
    confusions: Sequence[Counts],
    pooled: Counts,
    index: int,
    count: Callable[[Counts, int], tuple[int, int]],
) -> Rate:
    parts = [count(confusion, index) for confusion in confusions]
    folds = tuple(hits / total if total else None for hits, total in parts)
    mean, sd = spread(folds)
    return Rate(
        fold_mean=mean, fold_sd=sd, folds=folds, pooled=describe_proportion(*count(pooled, index))
    )


def _precision(confusion: Counts, index: int) -> tuple[int, int]:
    return int(confusion[index, index]), int(confusion[:, index].sum())


def _sensitivity(confusion: Counts, index: int) -> tuple[int, int]:
    return int(confusion[index, index]), int(confusion[index].sum())


def _specificity(confusion: Counts, index: int) -> tuple[int, int]:
    others = int(confusion.sum() - confusion[index].sum())
    return others - int(confusion[:, index].sum() - confusion[index, index]), others


def _defined(rate: Rate) -> int:
    return sum(value is not None for value in rate.folds)


def _format_spread(rate: Rate, *, folds: int) -> str:
    if rate.fold_mean is None:
        return "–"
    sd = "" if rate.fold_sd is None else f" ± {rate.fold_sd:.3f}"
    defined = _defined(rate)
    return f"{rate.fold_mean:.3f}{sd}" + (f" ({defined})" if defined < folds else "")


def _format_pooled(rate: Rate) -> str:
    if rate.pooled.value is None or rate.pooled.ci95 is None:
        return "–"
    low, high = rate.pooled.ci95
    return (
        f"{rate.pooled.count}/{rate.pooled.total} = {rate.pooled.value:.3f} [{low:.3f}, {high:.3f}]"
    )
