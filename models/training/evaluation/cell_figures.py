"""Every figure of one set of held-out cells: a source's, or all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.card import SourceEvaluation
from models.taxonomy import CODES, GROUPS, INDEX, CellClass, GroupName
from models.training.evaluation.bootstrap import (
    Statistic,
    Units,
    auc_statistic,
    bootstrap,
    class_statistic,
    mean_statistic,
    percentile_interval,
    plan_units,
)
from models.training.evaluation.calibration import bin_reliability, brier_scores, log_losses
from models.training.evaluation.class_table import count_confusion, spread, tabulate_classes
from models.training.evaluation.detection_limit import limits_of_cut
from models.training.evaluation.metrics import (
    are_members,
    group_probability,
    measure,
)
from models.training.evaluation.operating import SPECIFICITIES, find_cut
from models.training.evaluation.predictions import Predictions
from models.training.evaluation.records import (
    BackgroundControl,
    Calibration,
    CellFigures,
    Cut,
    Figure,
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one network said of its held-out cells.

    Attributes:
        predictions: of the cells.
        background: of the same cells, hidden; None if there is no such control.
        unsupported: classes the network cannot name.
    """

    predictions: Predictions
    background: Predictions | None
    unsupported: frozenset[CellClass]

    def of_source(self, source: str) -> "Part":
        """Only the cells of one source."""
        background = self.background and self.background.of_source(source)
        return Part(self.predictions.of_source(source), background, self.unsupported)


def measure_cells(parts: Sequence[Part], *, replicates: int, seed: int) -> CellFigures:
    """All figures of some cells, over the networks that held them out.

    Pooled figures rank cells of different networks by their probabilities as they are. The
    bootstrap draws cells, not networks: it does not hold the spread between trainings, which the
    standard deviation over folds shows.

    Args:
        parts: one a fold; a fold may have no cell.
        replicates: of the bootstrap.
        seed: of the bootstrap; the control is measured on the same replicates.
    """
    pooled = _join([part.predictions for part in parts])
    truth = np.array([INDEX[label] for label in pooled.labels], np.intp)
    averaged = _averaged(pooled, parts)
    units = plan_units(pooled.cells)
    nameable = np.concatenate(
        [[c.label not in p.unsupported for c in p.predictions.cells] for p in parts]
    ).astype(bool)
    brier = brier_scores(pooled.probabilities, truth)
    losses = log_losses(pooled.probabilities, truth, nameable)
    extra: list[tuple[str, NDArray[np.float64]]] = [("brier", brier), ("log_loss", losses)]
    draw = _Bootstrap(units, truth, averaged, replicates, seed)
    figures = draw.measure(pooled, extra)
    whole = _scalars(pooled, averaged)
    folds = [_scalars(p.predictions, _supported(p)) for p in parts]
    starts = np.cumsum([0, *(len(p.predictions.cells) for p in parts)])

    def figure(name: str) -> Figure:
        return _figure(whole[name], [fold[name] for fold in folds], figures.get(name))

    def mean_figure(name: str, values: NDArray[np.float64]) -> Figure:
        per_fold = [_mean(values[a:b]) for a, b in pairwise(starts)]
        return _figure(_mean(values), per_fold, figures.get(name))

    confusions = [_confusion(part.predictions) for part in parts]
    scores = {
        name: group_probability(pooled.probabilities, group) for name, group in GROUPS.items()
    }
    member = {name: are_members(pooled.labels, group) for name, group in GROUPS.items()}
    top = pooled.probabilities.max(axis=1, initial=0.0)
    return CellFigures(
        n=len(pooled.cells),
        unreadable=pooled.unreadable.total(),
        patients=len({(c.source, c.patient) for c in pooled.cells if c.patient}),
        units=units.kinds,
        support=dict(sorted(Counter(pooled.labels).items())),
        averaged=averaged,
        accuracy=figure("accuracy"),
        balanced_accuracy=figure("balanced_accuracy"),
        macro_f1=figure("macro_f1"),
        blast_auc=figure("blast_auc"),
        atypical_auc=figure("atypical_auc"),
        calibration=Calibration(
            ece=figure("ece"),
            brier=mean_figure("brier", brier),
            log_loss=mean_figure("log_loss", losses),
            log_loss_cells=int(nameable.sum()),
            top_class=bin_reliability(top, pooled.probabilities.argmax(axis=1) == truth),
            blast=bin_reliability(scores["blast"], member["blast"]),
        ),
        cuts=tuple(_cuts(scores, member)),
        classes=tabulate_classes(confusions),
        confusion=tuple(tuple(int(n) for n in row) for row in np.sum(confusions, axis=0)),
        background=_control(parts, draw),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Bootstrap:
    units: Units
    truth: NDArray[np.intp]
    averaged: tuple[CellClass, ...]
    replicates: int
    seed: int

    def measure(
        self, said: Predictions, extra: Sequence[tuple[str, NDArray[np.float64]]] = ()
    ) -> Mapping[str, NDArray[np.float64]]:
        """Replicates of every figure; none with fewer than two units, which cannot vary."""
        if self.units.count < 2:
            return {}
        of_cell = self.units.of_cell
        predicted = said.probabilities.argmax(axis=1)
        statistics: list[Statistic] = [
            class_statistic(
                self.truth,
                predicted,
                of_cell,
                averaged=[INDEX[code] for code in self.averaged],
                classes=len(CODES),
            )
        ]
        statistics += [
            auc_statistic(
                f"{name}_auc",
                group_probability(said.probabilities, group),
                are_members(said.labels, group),
                of_cell,
            )
            for name, group in GROUPS.items()
        ]
        statistics += [mean_statistic(name, values, of_cell) for name, values in extra]
        return bootstrap(self.units, statistics, replicates=self.replicates, seed=self.seed)


def _control(parts: Sequence[Part], draw: _Bootstrap) -> BackgroundControl | None:
    backgrounds = [part.background for part in parts if part.background is not None]
    if len(backgrounds) < len(parts):
        return None
    pooled = _join(backgrounds)
    figures = draw.measure(pooled)
    whole = _scalars(pooled, draw.averaged)
    folds = [
        _scalars(said, _supported(part)) for said, part in zip(backgrounds, parts, strict=True)
    ]

    def figure(name: str) -> Figure:
        return _figure(whole[name], [fold[name] for fold in folds], figures.get(name))

    return BackgroundControl(
        blast_auc=figure("blast_auc"),
        atypical_auc=figure("atypical_auc"),
        balanced_accuracy=figure("balanced_accuracy"),
        chance_balanced_accuracy=1 / len(draw.averaged) if draw.averaged else None,
    )


def _cuts(
    scores: Mapping[GroupName, NDArray[np.float32]],
    member: Mapping[GroupName, NDArray[np.bool_]],
) -> list[Cut]:
    cuts = []
    for name in GROUPS:
        for asked in SPECIFICITIES:
            cut = find_cut(scores[name], member[name], specificity=asked)
            detection = limits_of_cut(cut) if name == "blast" else None
            cuts.append(Cut(group=name, cut=cut, detection=detection))
    return cuts


def _figure(
    value: float | None,
    folds: Sequence[float | None],
    replicates: NDArray[np.float64] | None,
) -> Figure:
    mean, sd = spread(folds)
    if value is None:
        replicates = None
    return Figure(
        value=value,
        ci95=None if replicates is None else percentile_interval(replicates),
        undefined_replicates=0 if replicates is None else int(np.isnan(replicates).sum()),
        fold_mean=mean,
        fold_sd=sd,
        folds=tuple(folds),
    )


def _scalars(said: Predictions, averaged: Sequence[CellClass]) -> dict[str, float | None]:
    outside = [code for code in CODES if code not in averaged]
    record: SourceEvaluation = measure(said.probabilities, said.labels, unsupported=outside)
    names = ("accuracy", "balanced_accuracy", "macro_f1", "blast_auc", "atypical_auc", "ece")
    return {name: getattr(record, name) for name in names}


def _averaged(pooled: Predictions, parts: Sequence[Part]) -> tuple[CellClass, ...]:
    here = set(pooled.labels)
    named = {code for part in parts for code in _supported(part)}
    return tuple(code for code in CODES if code in here and code in named)


def _supported(part: Part) -> tuple[CellClass, ...]:
    return tuple(code for code in CODES if code not in part.unsupported)


def _confusion(said: Predictions) -> NDArray[np.int64]:
    truth = np.array([INDEX[label] for label in said.labels], np.intp)
    return count_confusion(truth, said.probabilities.argmax(axis=1))


def _join(many: Sequence[Predictions]) -> Predictions:
    unreadable: Counter[str] = Counter()
    for said in many:
        unreadable.update(said.unreadable)
    return Predictions(
        tuple(cell for said in many for cell in said.cells),
        np.concatenate([said.probabilities for said in many]),
        unreadable,
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else None
