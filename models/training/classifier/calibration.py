"""Temperature and thresholds of a network, and figures that were not found on the same cells.

What is served is found on all validation cells. What it is worth is estimated by cross-fitting:
the validation cells are split into folds of whole patients, and each fold is judged by a
temperature and thresholds found on the others (Hastie, Tibshirani, Friedman, "The elements of
statistical learning", ch. 7.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.model_selection import GroupKFold

from models.card import Abstention, GroupErrors, OperatingPoint
from models.errors import ModelError
from models.taxonomy import ATYPICAL, BLAST, INDEX, CellClass
from models.training.classifier.group_errors import measure_errors
from models.training.data.manifest import LabelledCell
from models.training.evaluation.abstention import choose_abstention
from models.training.evaluation.metrics import (
    are_members,
    expected_calibration_error,
    group_probability,
)
from models.training.evaluation.operating import find_cut
from models.training.evaluation.predictions import Predictions

SPECIFICITY: Final = 0.95
"""Operating points are set so that at most one in twenty other cells is counted."""

FOLDS: Final = 5

ALONE: Final = -1
"""Fold of cells that are never held out: their source is a single patient."""


class CalibrationError(ModelError):
    """The validation cells cannot set a temperature or a threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What goes into the card.

    Attributes:
        temperature: of all calibration sources' cells.
        blast: on P_blast, of all cells of the threshold source.
        atypical: on P_atypical, likewise.
        ece: expected calibration error per source with a cell, after temperature, cross-fitted.
        abstention: on the threshold source, cross-fitted.
        how: how the temperature was found and the error estimated, in words.
    """

    temperature: float
    blast: OperatingPoint
    atypical: OperatingPoint
    ece: dict[str, float]
    abstention: Abstention
    how: str


def calibrate(
    predictions: Predictions, *, temperature_sources: Sequence[str], threshold_source: str
) -> Calibration:
    """Temperature and thresholds from all cells, their figures by cross-fitting.

    Args:
        predictions: of validation cells at temperature 1.
        temperature_sources: whose cells set the temperature, each source with equal weight.
        threshold_source: whose cells set the thresholds.

    Raises:
        CalibrationError: a source has no cells, or the threshold source lacks cells inside or
            outside a group.
    """
    folds = assign_folds(predictions.cells)
    temperature = fit_temperature(predictions, temperature_sources)
    temperatures = {
        int(fold): fit_temperature(predictions.take(folds != fold), temperature_sources)
        for fold in np.unique(folds[folds != ALONE])
    }
    held_out = sharpen(predictions.probabilities, temperature)
    for fold, value in temperatures.items():
        inside = folds == fold
        held_out[inside] = sharpen(predictions.probabilities[inside], value)
    truth = np.array([INDEX[label] for label in predictions.labels], np.intp)
    sources = np.array([cell.source for cell in predictions.cells])
    hit = held_out.argmax(axis=1) == truth
    points = [
        _operating_point(
            predictions.of_source(threshold_source),
            group,
            temperature=temperature,
            temperatures=temperatures,
            folds=folds[sources == threshold_source],
            source=threshold_source,
        )
        for group in (BLAST, ATYPICAL)
    ]
    return Calibration(
        temperature=temperature,
        blast=points[0],
        atypical=points[1],
        ece={
            str(source): expected_calibration_error(
                held_out[sources == source].max(axis=1), hit[sources == source]
            )
            for source in np.unique(sources)
        },
        abstention=choose_abstention(
            held_out[sources == threshold_source].max(axis=1),
            hit[sources == threshold_source],
            source=threshold_source,
        ),
        how=(
            "one temperature, least log loss on the validation cells of "
            + " and ".join(temperature_sources)
            + " with equal weight; "
            + _describe_estimate(sorted(set(sources[folds == ALONE].tolist())), len(temperatures))
        ),
    )


def assign_folds(cells: Sequence[LabelledCell], *, folds: int = FOLDS) -> NDArray[np.intp]:
    """Fold of each cell, counted from 0, each source split evenly and no patient divided.

    A patient is the cell's group, else its patient, else the cell is on its own. `ALONE` for the
    cells of a source with fewer than two patients.
    """
    fold_of = np.full(len(cells), ALONE, np.intp)
    for source in sorted({cell.source for cell in cells}):
        rows = np.array([i for i, cell in enumerate(cells) if cell.source == source])
        units = [cells[i].unit for i in rows]
        count = min(folds, len(set(units)))
        if count < 2:
            continue
        for fold, (_, held) in enumerate(GroupKFold(count).split(rows, groups=units)):
            fold_of[rows[held]] = fold
    return fold_of


def sharpen(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax probabilities at another temperature; a class at 0 stays at 0."""
    powered = probabilities.astype(np.float64) ** (1.0 / temperature)
    scaled: NDArray[np.float32] = (powered / powered.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def fit_temperature(predictions: Predictions, sources: Sequence[str]) -> float:
    """The temperature of least mean log loss, every source weighted equally (Guo et al. 2017).

    Raises:
        CalibrationError: a source has no cells.
    """
    groups = []
    for source in sources:
        part = predictions.of_source(source)
        if not part.cells:
            raise CalibrationError(f"no validation cell comes from {source!r}")
        groups.append((part.probabilities, [INDEX[label] for label in part.labels]))

    def loss(log_temperature: float) -> float:
        losses = []
        for probabilities, truth in groups:
            scaled = sharpen(probabilities, float(np.exp(log_temperature)))
            right = scaled[np.arange(len(truth)), truth]
            losses.append(float(-np.log(np.maximum(right, 1e-12)).mean()))
        return float(np.mean(losses))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def _describe_estimate(alone: Sequence[str], folds: int) -> str:
    if not folds:
        return "a single patient a source, so calibration errors are optimistic"
    estimate = f"calibration errors by {folds}-fold cross-fitting over patients"
    return f"{estimate}; optimistic for {', '.join(alone)}, a single patient" if alone else estimate


def _operating_point(
    predictions: Predictions,
    group: frozenset[CellClass],
    *,
    temperature: float,
    temperatures: dict[int, float],
    folds: NDArray[np.intp],
    source: str,
) -> OperatingPoint:
    """The lowest threshold whose specificity on a source's cells is at least SPECIFICITY.

    Its sensitivity and specificity are those of cells judged by the threshold of the other folds.
    """
    member = are_members(predictions.labels, group)
    if member.all() or not member.any():
        raise CalibrationError(
            f"{member.sum()} of {len(member)} validation cells of {source!r} are in"
            f" {', '.join(sorted(group))}: a threshold needs cells inside and outside; take the"
            " thresholds from another source"
        )
    threshold, called = _cut(predictions, group, temperature, member)
    honest = _call_held_out(predictions, group, temperatures, folds, member)
    units = len({cell.unit for cell in predictions.cells})
    known = all(cell.group or cell.patient for cell in predictions.cells)
    kind = "patients or groups" if known else "groups, cells of unknown patients on their own"
    errors: GroupErrors | None = None
    if honest is None:
        estimate = f"too few patients ({units}) to cross-fit, so both figures are optimistic"
    else:
        called = honest
        estimate = (
            f"both figures by {len(np.unique(folds))}-fold cross-fitting over {units} {kind}: each"
            " cell judged by a temperature and threshold found without its fold"
        )
        if known:
            errors = measure_errors(predictions, called, member)
    return OperatingPoint(
        threshold=threshold,
        sensitivity=float(called[member].mean()),
        specificity=float(1.0 - called[~member].mean()),
        basis=(
            f"{len(member)} validation cells of {source}, {member.sum()} of them in the group;"
            f" lowest threshold with specificity ≥ {SPECIFICITY} on them all; {estimate}"
        ),
        errors=errors,
    )


def _call_held_out(
    predictions: Predictions,
    group: frozenset[CellClass],
    temperatures: dict[int, float],
    folds: NDArray[np.intp],
    member: NDArray[np.bool_],
) -> NDArray[np.bool_] | None:
    """Which cells the thresholds of the other folds call; None where a fold's others cannot say."""
    called = np.zeros(len(member), bool)
    for fold in np.unique(folds):
        rest = folds != fold
        if fold == ALONE or member[rest].all() or not member[rest].any():
            return None
        temperature = temperatures[int(fold)]
        threshold, _ = _cut(predictions.take(rest), group, temperature, member[rest])
        called[~rest] = _scores(predictions.take(~rest), group, temperature) >= threshold
    return called


def _cut(
    predictions: Predictions,
    group: frozenset[CellClass],
    temperature: float,
    member: NDArray[np.bool_],
) -> tuple[float, NDArray[np.bool_]]:
    """The threshold of these cells, and which of them it calls; 1 where none is specific enough."""
    scores = _scores(predictions, group, temperature)
    found = find_cut(scores, member, specificity=SPECIFICITY).threshold
    threshold = 1.0 if found is None else min(1.0, found)
    return threshold, scores >= threshold


def _scores(
    predictions: Predictions, group: frozenset[CellClass], temperature: float
) -> NDArray[np.float32]:
    return group_probability(sharpen(predictions.probabilities, temperature), group)
