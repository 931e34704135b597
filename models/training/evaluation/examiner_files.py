"""Figures and tables of two people reading the same cells (Matek et al. 2019, Fig. S1)."""

import csv
from pathlib import Path

import numpy as np

from models.training.evaluation.examiners import ExaminerFigures
from models.training.evaluation.figures.confusion_matrix import draw_confusion
from models.training.evaluation.figures.style import save_figure
from models.training.evaluation.matrix_file import write_matrix


def write_examiners(directory: Path, examiners: ExaminerFigures) -> list[str]:
    """Write `points.csv`, and `s1-….csv`, `.svg` and `.pdf` for each pair of readings.

    Returns:
        Stems of the S1 files, in the order of `examiners.agreement`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "points.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = ("examiner", "group", "unc", "sensitivity", "specificity", "n")
        writer.writerow(names)
        writer.writerows([getattr(point, name) for name in names] for point in examiners.points)
    stems = []
    for pair in examiners.agreement:
        counts = np.asarray(pair.counts, np.int64)
        codes = [str(code) for code in pair.codes]
        stem = f"s1-{_slug(pair.first)}-{_slug(pair.second)}"
        write_matrix(directory / f"{stem}.csv", counts, codes)
        figure = draw_confusion(
            counts,
            codes,
            rows=str(pair.first),
            columns=str(pair.second),
            title=f"{pair.n:,} cells, same class {pair.equal:.1%}, κ = {pair.kappa:.3f}",
        )
        save_figure(figure, directory / stem)
        stems.append(stem)
    return stems


def _slug(name: object) -> str:
    return "".join(c if c.isalnum() else "-" for c in str(name)).strip("-").lower()
