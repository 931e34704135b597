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

from models.allocator import keep_freed_memory
from models.predictor import Classifier
from models.prevalence import Rate, estimate_share
from models.taxonomy import ATYPICAL, BLAST, INDEX, NOT_IN_DIFFERENTIAL
from models.training.classifier.calibration import calibrate, sharpen
from models.training.data.manifest import read_manifest
from models.training.evaluation.metrics import are_members
from models.training.evaluation.predictions import Predictions, predict_cells
from worker.proportion import clopper_pearson

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
    probabilities = sharpen(found.probabilities, 1.0 / classifier.card.temperature)
    patients = np.array([cell.unit for cell in found.cells])
    for name, group in (("blast", BLAST), ("atypical", ATYPICAL)):
        columns = [INDEX[code] for code in group]
        rows = []
        for patient in np.unique(patients):
            own = patients == patient
            others = Predictions(
                tuple(np.array(found.cells, object)[~own]), probabilities[~own], found.unreadable
            )
            card = calibrate(others, temperature_sources=[SOURCE], threshold_source=SOURCE)
            point = card.blast if name == "blast" else card.atypical
            seen = sharpen(probabilities[own], card.temperature)
            leukocyte = ~np.isin(seen.argmax(axis=1), [INDEX[code] for code in NOT_IN_DIFFERENTIAL])
            total = int(leukocyte.sum())
            if total < FEWEST or point.errors is None:
                continue
            labels = [cell.label for cell, is_own in zip(found.cells, own, strict=True) if is_own]
            truth = float(are_members(labels, group)[leukocyte].mean())
            called = int((seen[leukocyte][:, columns].sum(axis=1) >= point.threshold).sum())
            hit, spared = point.errors.sensitivity, point.errors.specificity
            share = estimate_share(
                called,
                total,
                sensitivity=Rate(hit.alpha, hit.beta),
                specificity=Rate(spared.alpha, spared.beta),
            )
            exact = clopper_pearson(called, total)
            assert exact is not None
            low, high = share.interval
            rows.append(
                (
                    low <= truth <= high,
                    exact[0] <= 100 * truth <= exact[1],
                    high - low,
                    abs(share.share - truth),
                    abs(called / total - truth),
                )
            )
            print(
                f"{name} {patient}: {called} of {total} called, truth {truth:.0%}, corrected"
                f" {share.share:.0%} ({low:.0%}–{high:.0%}), exact {exact[0]:.0f}–{exact[1]:.0f} %",
                flush=True,
            )
        held, exact_held, width, away, raw = np.mean(np.array(rows, float), axis=0)
        print(
            f"{name}: of {len(rows)} patients the corrected interval holds the truth in"
            f" {held * len(rows):.0f}, the exact one in {exact_held * len(rows):.0f}; mean width"
            f" {width:.0%}, mean distance {away:.1%}, of the raw share {raw:.1%}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
