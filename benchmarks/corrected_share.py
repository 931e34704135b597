"""How well the corrected shares of a report hold, each validation patient in turn as a slide.

    python -m benchmarks.corrected_share ../shared/data

Threshold, temperature and errors are found on the other patients of the source that set those of
the served card; then the patient's cells labelled as leukocytes are counted as a report counts
them. A patient's cells were chosen by class, so the shares are no smear's; they are as good a test.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.allocator import keep_freed_memory
from models.binomial import exact_interval
from models.card import OperatingPoint
from models.predictor import Classifier
from models.prevalence import Rate, estimate_share
from models.taxonomy import CODES, GROUPS, NOT_IN_DIFFERENTIAL
from models.training.classifier.calibration import calibrate, sharpen
from models.training.data.manifest import read_manifest
from models.training.evaluation.metrics import are_members, group_probability
from models.training.evaluation.predictions import Predictions, predict_cells

SOURCE: Final = "deepapl"
FEWEST: Final = 20
"""Cells labelled as leukocytes that make a patient a slide."""


def main(root: Path) -> None:
    """Print every patient's intervals, then how many hold the truth."""
    keep_freed_memory()
    classifier = Classifier.load()
    cells = [
        cell
        for cell in read_manifest(root / "cells.csv", root=root, split="val").cells
        if cell.source == SOURCE
    ]
    found = predict_cells(classifier, cells)
    plain = sharpen(found.probabilities, 1.0 / classifier.card.temperature)
    found = Predictions(found.cells, plain, found.unreadable)
    patients = np.array([cell.unit for cell in found.cells])
    outcomes: dict[str, list[tuple[float, ...]]] = {name: [] for name in GROUPS}
    for patient in np.unique(patients):
        own, others = found.take(patients == patient), found.take(patients != patient)
        calibration = calibrate(others, temperature_sources=[SOURCE], threshold_source=SOURCE)
        seen = sharpen(own.probabilities, calibration.temperature)
        leukocyte = ~are_members([CODES[i] for i in seen.argmax(axis=1)], NOT_IN_DIFFERENTIAL)
        if leukocyte.sum() < FEWEST:
            continue
        points = {"blast": calibration.blast, "atypical": calibration.atypical}
        for name, group in GROUPS.items():
            called = group_probability(seen, group)[leukocyte] >= points[name].threshold
            truth = are_members(own.labels, group)[leukocyte]
            outcomes[name].append(judge(f"{name} {patient}", called, truth, points[name]))
    for title, rows in outcomes.items():
        held, exact_held, width, away, raw = np.array(rows).mean(axis=0)
        print(
            f"{title}: of {len(rows)} patients the corrected interval holds the truth in"
            f" {held * len(rows):.0f}, the exact one in {exact_held * len(rows):.0f}; mean width"
            f" {width:.0%}, mean distance {away:.1%}, of the raw share {raw:.1%}"
        )


def judge(
    title: str, called: NDArray[np.bool_], truth: NDArray[np.bool_], point: OperatingPoint
) -> tuple[float, ...]:
    """Print a patient's shares; whether either interval holds, the corrected one's width, and how
    far the corrected and the raw share are from the truth, all as fractions.
    """
    count, total, share = int(called.sum()), len(called), float(truth.mean())
    exact, errors = exact_interval(count, total), point.errors
    assert exact is not None
    assert errors is not None
    found = estimate_share(
        count,
        total,
        sensitivity=Rate(errors.sensitivity.alpha, errors.sensitivity.beta),
        specificity=Rate(errors.specificity.alpha, errors.specificity.beta),
    )
    low, high = found.interval
    print(
        f"{title}: {count} of {total} called, truth {share:.0%}, corrected {found.share:.0%}"
        f" ({low:.0%}–{high:.0%}), exact {exact[0]:.0%}–{exact[1]:.0%}",
        flush=True,
    )
    return (
        low <= share <= high,
        exact[0] <= share <= exact[1],
        high - low,
        abs(found.share - share),
        abs(count / total - share),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
