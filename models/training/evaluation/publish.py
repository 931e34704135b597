"""From a cross-validation on disk to its tables, figures and report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from models.taxonomy import CODES, GROUPS, CellClass, GroupName
from models.training.evaluation.calibration import write_reliability
from models.training.evaluation.cell_figures import Part, measure_cells
from models.training.evaluation.class_table import format_class_table, write_class_table
from models.training.evaluation.crossvalidation import Fold
from models.training.evaluation.examiner_files import write_examiners
from models.training.evaluation.examiners import ExaminerFigures, ExaminerPoint
from models.training.evaluation.figures.confusion_matrix import draw_confusion
from models.training.evaluation.figures.reliability import draw_reliability
from models.training.evaluation.figures.roc_curves import draw_roc
from models.training.evaluation.figures.saliency_panel import Example, draw_saliency
from models.training.evaluation.figures.style import save_figure
from models.training.evaluation.matrix_file import write_matrix
from models.training.evaluation.metrics import are_members, group_probability
from models.training.evaluation.operating import RocCurve, trace_roc, write_roc
from models.training.evaluation.predictions import Predictions
from models.training.evaluation.records import CellFigures, CrossvalFigures, Figure
from models.training.evaluation.report import write_report

FIGURES_FILE: Final = "figures.json"
REPORT_FILE: Final = "report.md"
POOLED: Final = "pooled"
SALIENCY: Final = "saliency"

GROUP_TITLES: Final = {
    "blast": "Blasts: MYO, MOB",
    "atypical": "Atypical: MYO, MOB, MYB, MMZ, PMO, PMB, EBO, LYA",
}


def measure_crossval(folds: Sequence[Fold], *, replicates: int, seed: int) -> CrossvalFigures:
    """Every scalar of a cross-validation, pooled and per source."""
    parts = [Part(fold.predictions, fold.background, fold.unsupported) for fold in folds]
    sources = sorted({source for fold in folds for source in fold.predictions.sources})
    per_source = {
        source: measure_cells(
            [part.of_source(source) for part in parts], replicates=replicates, seed=seed
        )
        for source in sources
    }
    alone = len(sources) == 1
    return CrossvalFigures(
        folds=len(folds),
        seed=seed,
        replicates=replicates,
        recipes=tuple(dict.fromkeys(str(fold.recipe.get("name", "")) for fold in folds)),
        digests=_find_digests(folds),
        unsupported={fold.number: tuple(sorted(fold.unsupported)) for fold in folds},
        pooled=per_source[sources[0]]
        if alone
        else measure_cells(parts, replicates=replicates, seed=seed),
        sources=per_source,
    )


def publish_crossval(
    out: Path,
    folds: Sequence[Fold],
    figures: CrossvalFigures,
    *,
    examiners: ExaminerFigures | None = None,
    examples: Sequence[Example] = (),
    without_saliency: str = "",
    paper_reference: bool = False,
) -> None:
    """Write `figures.json`, `report.md`, and tables and figures, pooled and per source.

    Args:
        out: directory, made if need be; files of the same names are replaced.
        folds: of the cross-validation.
        figures: from `measure_crossval` of the same folds.
        examiners: drawn into the ROC figures, with S1 beside them.
        examples: cells of the saliency panel; no panel without one.
        without_saliency: why there is none, for the report.
        paper_reference: mark the published points, too.
    """
    out.mkdir(parents=True, exist_ok=True)
    points = examiners.points if examiners else ()
    directories = {POOLED: POOLED}
    _write_set(
        out / POOLED,
        [fold.predictions for fold in folds],
        figures.pooled,
        title="all sources",
        points=points,
        paper_reference=paper_reference,
    )
    if len(figures.sources) > 1:
        for source, measured in figures.sources.items():
            name = f"sources/{name_directory(source)}"
            directories[source] = name
            _write_set(
                out / name,
                [fold.predictions.of_source(source) for fold in folds],
                measured,
                title=source,
                points=points,
                paper_reference=paper_reference,
            )
    else:
        directories |= dict.fromkeys(figures.sources, POOLED)
    s1 = write_examiners(out / "examiners", examiners) if examiners else []
    if examples:
        save_figure(draw_saliency(examples), out / SALIENCY)
    (out / FIGURES_FILE).write_text(figures.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_report(
        out / REPORT_FILE,
        figures,
        directories=directories,
        s1=[f"examiners/{stem}" for stem in s1],
        saliency=f"{SALIENCY}.svg" if examples else "",
        without_saliency=without_saliency,
    )


def name_directory(source: str) -> str:
    """A source as a directory's name: different for different sources, whatever they are called."""
    return quote(source, safe=" ").replace(".", "%2E") or "%"


def _write_set(
    directory: Path,
    folds: Sequence[Predictions],
    measured: CellFigures,
    *,
    title: str,
    points: Sequence[ExaminerPoint],
    paper_reference: bool,
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_class_table(directory / "table1.csv", measured.classes)
    (directory / "table1.md").write_text(
        format_class_table(measured.classes, folds=len(folds)), encoding="utf-8"
    )
    confusion = np.array(measured.confusion, np.int64)
    write_matrix(directory / "confusion.csv", confusion, CODES)
    figure = draw_confusion(
        confusion, CODES, rows="true class", columns="predicted class", title=title
    )
    save_figure(figure, directory / "confusion")
    calibration = measured.calibration
    write_reliability(directory / "reliability.csv", calibration.top_class, calibration.blast)
    save_figure(draw_reliability(calibration, title=title), directory / "reliability")
    aucs: dict[GroupName, Figure] = {
        "blast": measured.blast_auc,
        "atypical": measured.atypical_auc,
    }
    for group, auc in aucs.items():
        pooled, curves = _trace(folds, GROUPS[group])
        if pooled is None:
            continue
        write_roc(directory / f"roc-{group}.csv", pooled)
        drawn = draw_roc(
            pooled,
            curves,
            auc,
            group=group,
            title=f"{GROUP_TITLES[group]}\n{title}",
            examiners=points,
            paper_reference=paper_reference,
        )
        save_figure(drawn, directory / f"roc-{group}")


def _trace(
    folds: Sequence[Predictions], group: frozenset[CellClass]
) -> tuple[RocCurve | None, list[RocCurve]]:
    scores = [group_probability(fold.probabilities, group) for fold in folds]
    members = [are_members(fold.labels, group) for fold in folds]
    curves = [trace_roc(s, m) for s, m in zip(scores, members, strict=True)]
    pooled = trace_roc(np.concatenate(scores), np.concatenate(members))
    return pooled, [curve for curve in curves if curve is not None]


def _find_digests(folds: Sequence[Fold]) -> dict[str, tuple[str, ...]]:
    """Every entry of data.json that is named a digest or hash."""
    found: dict[str, dict[str, None]] = {}
    for fold in folds:
        for key, value in fold.data.items():
            if isinstance(value, str) and ("sha256" in key or "digest" in key):
                found.setdefault(key, {})[value] = None
    return {key: tuple(values) for key, values in found.items()}
