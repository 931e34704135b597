"""What a card says of one source's cells, beyond plain figures: intervals, cuts, risk."""

from collections.abc import Mapping

import numpy as np

from models.card import CutFigures, SourceEvaluation
from models.taxonomy import INDEX
from models.training.classifier.calibration import sharpen
from models.training.evaluation.abstention import trace_risk
from models.training.evaluation.metrics import expected_calibration_error
from models.training.evaluation.predictions import Predictions
from models.training.evaluation.records import CellFigures

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "blast_auc", "atypical_auc")
"""That have an interval."""


def complete_figures(
    plain: Mapping[str, SourceEvaluation],
    detail: Mapping[str, CellFigures],
    predictions: Predictions,
    *,
    temperature: float,
) -> dict[str, SourceEvaluation]:
    """Each source's figures with what a bootstrap and the probabilities add.

    Args:
        plain: of `Predictions.per_source`.
        detail: of `measure_cells`, for the same cells.
        predictions: as served.
        temperature: of the card, to be undone for `ece_uncalibrated`.
    """
    return {
        source: figures.model_copy(
            update=_details(detail[source], predictions.of_source(source), temperature)
        )
        for source, figures in plain.items()
    }


def _details(
    detail: CellFigures, predictions: Predictions, temperature: float
) -> dict[str, object]:
    if not predictions.cells:
        return {}
    intervals = {name: getattr(detail, name).ci95 for name in FIGURES}
    truth = np.array([INDEX[label] for label in predictions.labels], np.intp)
    hit = predictions.probabilities.argmax(axis=1) == truth
    raw = sharpen(predictions.probabilities, 1.0 / temperature)
    return {
        "intervals": {name: ends for name, ends in intervals.items() if ends is not None},
        "cuts": tuple(
            CutFigures(
                group=cut.group,
                specificity=cut.cut.asked,
                sensitivity=cut.cut.sensitivity.value,
                ci95=cut.cut.sensitivity.ci95,
            )
            for cut in detail.cuts
            if cut.cut.sensitivity.value is not None
            and cut.cut.sensitivity.ci95 is not None
            and cut.cut.specificity.value is not None
        ),
        "risk_coverage": trace_risk(predictions.probabilities.max(axis=1), hit),
        "ece_uncalibrated": expected_calibration_error(raw.max(axis=1), hit),
    }
