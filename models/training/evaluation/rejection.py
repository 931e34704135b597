"""Whether a detected cell is like none of the classes, and how often that is seen.

The score is the entropy of the class probabilities: what a reader of a report can compute, and no
worse here than scores that need the network's logits (docs/experiments.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.metrics import roc_auc_score

from models.card import Rejection, RejectionFigures, StrangerFigures
from models.predictor import Classifier
from models.taxonomy import CODES, INDEX, NOT_IN_DIFFERENTIAL
from models.training.data.crops import read_crops
from models.training.data.manifest import Stranger
from models.training.evaluation.predictions import CHUNK, Predictions

FALSE_REJECTS: Final = 0.10
"""Share of ordinary cells that may be called unfamiliar, of the source that sets thresholds."""


@dataclass(frozen=True, slots=True, eq=False)
class StrangerPredictions:
    """What a classifier says of cells that are none of its classes.

    Attributes:
        strangers: N of them.
        probabilities: shape (N, 15).
    """

    strangers: tuple[Stranger, ...]
    probabilities: NDArray[np.float32]


def measure_entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """−Σ p ln p of each row, nats, shape (N,)."""
    entropy: NDArray[np.float64] = entr(probabilities.astype(np.float64)).sum(axis=1)
    return entropy


def predict_strangers(classifier: Classifier, strangers: Sequence[Stranger]) -> StrangerPredictions:
    """Classify crops of other things as a slide's patches are; unreadable ones are left out."""
    card = classifier.card
    kept: list[Stranger] = []
    rows = [np.empty((0, len(CODES)), np.float32)]
    for start in range(0, len(strangers), CHUNK):
        chunk = strangers[start : start + CHUNK]
        patches, readable = read_crops(chunk, field_um=card.patch_um, px=card.patch_px)
        rows.append(classifier.predict(patches))
        kept += [chunk[i] for i in readable]
    return StrangerPredictions(tuple(kept), np.concatenate(rows))


def choose_rejection(known: Predictions, strange: StrangerPredictions, *, source: str) -> Rejection:
    """Set the limit on a source's cells, and measure it on all and on strangers.

    Args:
        known: calibrated predictions of cells of the 15 classes.
        strange: calibrated predictions of others.
        source: whose cells set the limit.

    """
    usual = known.of_source(source).probabilities
    usual = usual[_as_leukocytes(usual)]
    above = float(np.quantile(measure_entropy(usual), 1.0 - FALSE_REJECTS)) if len(usual) else 0.0
    figures = measure_rejection(known, strange, above=above)
    return Rejection(
        score="entropy",
        above=above,
        basis=(
            f"{len(usual)} validation cells of {source} labelled as leukocytes: the limit that"
            f" {FALSE_REJECTS:g} of these same cells exceed"
        ),
        rejected=figures.rejected,
        strangers=figures.strangers,
    )


def measure_rejection(
    known: Predictions, strange: StrangerPredictions, *, above: float
) -> RejectionFigures:
    """What a limit does. Only cells labelled as leukocytes take part: others are in no percentage.

    Args:
        known: calibrated predictions of cells of the 15 classes.
        strange: calibrated predictions of others; each kind is told from the cells of its sources.
        above: the limit, nats.
    """
    entropy, leukocyte = measure_entropy(known.probabilities), _as_leukocytes(known.probabilities)
    sources = np.array([cell.source for cell in known.cells], dtype=str)
    kinds: dict[str, list[int]] = {}
    for index, stranger in enumerate(strange.strangers):
        kinds.setdefault(stranger.kind, []).append(index)
    return RejectionFigures(
        rejected={
            str(name): float((entropy[leukocyte & (sources == name)] > above).mean())
            for name in np.unique(sources[leukocyte])
        },
        strangers={
            kind: _describe(
                strange.probabilities[kinds[kind]],
                entropy[
                    leukocyte & np.isin(sources, [strange.strangers[i].source for i in kinds[kind]])
                ],
                above=above,
            )
            for kind in sorted(kinds)
        },
    )


def _describe(
    probabilities: NDArray[np.float32], usual: NDArray[np.float64], *, above: float
) -> StrangerFigures:
    counted = measure_entropy(probabilities[_as_leukocytes(probabilities)])
    truth = np.arange(len(usual) + len(counted)) >= len(usual)
    auroc = (
        float(roc_auc_score(truth, np.concatenate([usual, counted])))
        if len(counted) and len(usual)
        else None
    )
    return StrangerFigures(
        cells=len(probabilities),
        as_leukocytes=len(counted),
        rejected=int((counted > above).sum()),
        auroc=auroc,
    )


def _as_leukocytes(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    outside = [INDEX[code] for code in NOT_IN_DIFFERENTIAL]
    leukocyte: NDArray[np.bool_] = ~np.isin(probabilities.argmax(axis=1), outside)
    return leukocyte
