"""Labelled cells blurred on purpose: what is measured, what is flagged, what the classifier loses.

    python -m benchmarks.cell_focus ../shared/data [CELLS]

takes CELLS (default 300) validation cells at random, blurs each by known Gaussians and prints a row
a blur: the measured blur (1st, 50th, 99th percentile), the share flagged out of focus at the
default limit, and the served classifier's accuracy, all per source.
"""

import csv
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.crops import PATCH_PX, PATCH_UM, read_patch
from models.taxonomy import CODES
from service.contract.settings import AnalysisSettings
from worker.focus import measure_cell_blur_um
from worker.inference import LocalPredictor

BLURS_UM = (0.0, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0)
UM_PER_PX = PATCH_UM / PATCH_PX


def load_cells(root: Path, count: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Patches, labels and sources of validation cells."""
    with (root / "cells.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "val"]
    rows = [row for row in rows if row["label"] in CODES]
    patches, labels, sources = [], [], []
    for row in random.Random(0).sample(rows, count):
        try:
            picture = Image.open(root / row["path"]).convert("RGB")
        except OSError:
            continue
        middle = picture.width / 2, picture.height / 2
        patch = read_patch(picture, *middle, float(row["um_per_px"]))
        if patch is not None:
            patches.append(patch)
            labels.append(row["label"])
            sources.append(row["source"])
    return np.array(patches), labels, sources


def blur(patches: np.ndarray, sigma_um: float) -> np.ndarray:
    """Each patch, blurred by a Gaussian."""
    sigma = sigma_um / UM_PER_PX
    soft = (gaussian_filter(p.astype(np.float32), (sigma, sigma, 0), truncate=3) for p in patches)
    return patches if not sigma else np.rint(np.array(list(soft))).astype(np.uint8)


def main(root: Path, count: int = 300) -> None:
    """Print the table."""
    limit = AnalysisSettings().blurred_above_um
    patches, labels, sources = load_cells(root, count)
    classifier = LocalPredictor.load(device="cpu").classifier
    wanted = np.array([CODES.index(label) for label in labels])
    for sigma_um in BLURS_UM:
        soft = blur(patches, sigma_um)
        measured = np.array([measure_cell_blur_um(patch, UM_PER_PX) for patch in soft])
        parts = [classifier.predict(soft[at : at + 50]) for at in range(0, len(soft), 50)]
        right = np.concatenate(parts).argmax(axis=1) == wanted
        for source in sorted(set(sources)):
            own = np.array(sources) == source
            low, middle, high = np.nanpercentile(measured[own], (1, 50, 99))
            print(
                f"{sigma_um:4.2f} µm  {source:8} n={own.sum():3}"
                f"  measured {low:.2f} {middle:.2f} {high:.2f}"
                f"  flagged {np.mean(measured[own] > limit):.3f}  accuracy {right[own].mean():.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
