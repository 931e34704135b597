"""Colours of the training cells, and how far other laboratories are from them.

    python -m benchmarks.stain_reference ../shared/data

prints the constants of `models.training.classifier.describing.STAINS`, then the distance of every
patient and laboratory from the nearest in the served card, so that a limit can be set between.
"""

import csv
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.crops import read_patch
from models.card import load_card
from models.catalogue import DEFAULT_CLASSIFIER, locate_weights
from worker.stain_distance import compare_stain, measure_colours

MOST = 400
"""Cells a group, drawn at random; more do not move a median."""
LEAST_SPREAD = 0.03
"""Three per cent of the light: no lamp is steadier from day to day."""


def list_centres(root: Path) -> Iterator[tuple[str, str, Path, float, float | None, float | None]]:
    """Source, group, file, µm/px and centre (None: of the picture) of every labelled cell."""
    with (root / "cells.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["label"] != "artefact":
                group = f"{row['source']} {row['split']} {row['patient']}".strip()
                yield row["source"], group, root / row["path"], float(row["um_per_px"]), None, None
    for field in json.loads((root / "fields.json").read_text()):
        for kind, x0, y0, x1, y1 in field["boxes"]:
            if kind == "WBC":
                centre = (x0 + x1) / 2, (y0 + y1) / 2
                source, path = field["source"], root / field["path"]
                yield source, source, path, field["um_per_px"], *centre


def main(root: Path) -> None:
    """Print references, then distances."""
    colours: dict[str, list[np.ndarray]] = defaultdict(list)
    training: dict[str, list[np.ndarray]] = defaultdict(list)
    centres = list(list_centres(root))
    random.Random(0).shuffle(centres)
    for source, group, path, um_per_px, x, y in centres:
        if len(colours[group]) >= MOST:
            continue
        try:
            picture = Image.open(path).convert("RGB")
        except OSError:
            continue
        centre = (picture.width / 2, picture.height / 2) if x is None or y is None else (x, y)
        patch = read_patch(picture, *centre, um_per_px)
        if patch is not None:
            colours[group].append(measure_colours(patch))
            if " train" in group:
                training[source].append(colours[group][-1])
    for source, rows in training.items():
        means, spreads = np.mean(rows, axis=0), np.maximum(np.std(rows, axis=0), LEAST_SPREAD)
        print(
            f'"{source}": mean={_numbers(means)}, spread={_numbers(spreads)}  # {len(rows)} cells'
        )
    card = load_card(locate_weights(DEFAULT_CLASSIFIER))
    references = [one.stain for one in card.training if one.stain]
    for group, rows in sorted(colours.items()):
        distance = compare_stain(np.array(rows), references)
        if distance is not None:
            print(f"{distance.spreads:6.2f}  {group} ({len(rows)} cells): {distance.feature}")


def _numbers(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
