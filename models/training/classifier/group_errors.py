"""How often an operating point is right in a patient it has not seen."""

import numpy as np
from numpy.typing import NDArray

from models.card import GroupErrors, PatientRate
from models.prevalence import fit_rate
from models.taxonomy import ATYPICAL, INDEX, NOT_IN_DIFFERENTIAL
from models.training.evaluation.metrics import are_members
from models.training.evaluation.predictions import Predictions


def measure_errors(
    predictions: Predictions, called: NDArray[np.bool_], member: NDArray[np.bool_]
) -> GroupErrors | None:
    """Sensitivity and specificity over patients, as `models.prevalence` takes them.

    Only cells labelled as leukocytes take part, as in a report's count.

    Args:
        predictions: of one source, whose cells all have a patient or group.
        called: cells at or above a threshold found without their patient, shape (N,).
        member: cells of the group, shape (N,).

    Returns:
        None if no cell inside the group, or none outside it and the atypical classes, is labelled
        as a leukocyte.
    """
    labels = predictions.probabilities.argmax(axis=1)
    leukocyte = ~np.isin(labels, [INDEX[code] for code in NOT_IN_DIFFERENTIAL])
    patients = np.array([cell.unit for cell in predictions.cells])
    sensitivity = _measure_rate(called, leukocyte & member, patients)
    specificity = _measure_rate(~called, leukocyte & ~member, patients)
    mature = ~are_members(predictions.labels, ATYPICAL)
    blank = _measure_rate(~called, leukocyte & ~member & mature, patients)
    if sensitivity is None or specificity is None or blank is None:
        return None
    return GroupErrors(sensitivity=sensitivity, specificity=specificity, blank_specificity=blank)


def _measure_rate(
    right: NDArray[np.bool_], among: NDArray[np.bool_], patients: NDArray[np.str_]
) -> PatientRate | None:
    if not among.any():
        return None
    names, which = np.unique(patients[among], return_inverse=True)
    totals = np.bincount(which, minlength=len(names))
    hits = np.bincount(which, weights=right[among], minlength=len(names)).astype(np.int64)
    rate = fit_rate(hits, totals)
    return PatientRate(
        alpha=rate.alpha, beta=rate.beta, patients=len(names), cells=int(totals.sum())
    )
