"""Cross-validations on disk whose cells, probabilities and separations are known."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from models.taxonomy import CODES, INDEX, CellClass
from models.training.data.manifest import LabelledCell
from models.training.evaluation.predictions import Predictions, write_predictions

CLASSES = (CellClass.MYO, CellClass.EBO, CellClass.LYT, CellClass.MON, CellClass.NGS)


def make_cells(count: int = 300, *, patients: int = 12) -> list[LabelledCell]:
    """Two thirds from `clinic` with patients, the rest from `blood bank` without; no MYO there."""
    cells = []
    for index in range(count):
        clinic = index % 3 < 2
        code = CLASSES[(index // 3) % len(CLASSES)]
        if not clinic and code is CellClass.MYO:
            code = CellClass.NGS
        name = f"{code}/{index:04d}.png"
        cells.append(
            LabelledCell(
                path=Path(name),
                source="clinic" if clinic else "blood bank",
                label=code,
                patient=f"p{index // 3 % patients:02d}" if clinic else "",
                um_per_px=0.1,
                fold=1 + index // 3 % patients % 3,
                name=name,
            )
        )
    return cells


def predict(
    cells: list[LabelledCell], *, separation: float, seed: int, patient_effect: float = 0.0
) -> Predictions:
    """Softmax of normal noise plus `separation` for the true class.

    A patient's cells all get the same normal shift of the MYO logit, of standard deviation
    `patient_effect`.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(cells), len(CODES)))
    logits[np.arange(len(cells)), [INDEX[cell.label] for cell in cells]] += separation
    shift = {name: rng.normal() for name in sorted({cell.patient for cell in cells})}
    logits[:, INDEX[CellClass.MYO]] += [patient_effect * shift[cell.patient] for cell in cells]
    powers = np.exp(logits)
    return Predictions(
        tuple(cells), (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), Counter()
    )


def write_crossval(
    directory: Path,
    *,
    cells: list[LabelledCell] | None = None,
    separation: float = 3.0,
    leak: float = 0.0,
    unreadable: int = 0,
) -> list[LabelledCell]:
    """Three folds; `leak` is the separation that the hidden cells keep."""
    cells = make_cells() if cells is None else cells
    for number in (1, 2, 3):
        fold = directory / f"fold-{number}"
        fold.mkdir(parents=True)
        held_out = [cell for cell in cells if cell.fold == number]
        said = predict(held_out, separation=separation, seed=number)
        if number == 1:
            said.unreadable["clinic"] = unreadable
        write_predictions(fold / "predictions.csv", said)
        hidden = predict(held_out, separation=leak, seed=100 + number)
        write_predictions(fold / "background.csv", hidden)
        counts: dict[str, Counter[str]] = {}
        for cell in cells:
            if cell.fold != number:
                counts.setdefault(cell.source, Counter())[cell.label] += 1
        data = {"counts": counts, "manifest_sha256": "ab" * 32}
        (fold / "data.json").write_text(json.dumps(data))
        (fold / "recipe.json").write_text(json.dumps({"name": "tiny"}))
    return cells
