"""`report.md`: what was measured, in tables, with every figure's name and every n."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from models.training.evaluation.class_table import format_class_table
from models.training.evaluation.records import (
    CellFigures,
    CrossvalFigures,
    Cut,
    DetectionLimit,
    Figure,
    Interval,
    Proportion,
)


def write_report(
    path: Path,
    figures: CrossvalFigures,
    *,
    directories: Mapping[str, str],
    s1: Sequence[str],
    saliency: str,
    without_saliency: str,
) -> None:
    """Write the report.

    Args:
        path: of the Markdown file.
        figures: everything measured.
        directories: "pooled" and each source → directory of its files, relative to the report's.
        s1: stems of the examiners' agreement figures.
        saliency: file of the panel; "" if there is none.
        without_saliency: why there is none.
    """
    lines = ["# Evaluation of a cross-validation", "", figures.statement, ""]
    lines += _describe_run(figures)
    lines += _compare(figures)
    for source, measured in figures.sources.items():
        lines += [f"## Source {source}", "", *_describe_set(measured, directories[source], figures)]
    if len(figures.sources) > 1:
        lines += ["## All sources pooled", ""]
        lines += ["The mix of sources is the manifest's, no laboratory's: read it after the above."]
        lines += ["", *_describe_set(figures.pooled, directories["pooled"], figures)]
    if s1:
        lines += ["## Examiners against each other (S1)", ""]
        lines += [
            "Examiners' points, in the ROC figures and here, were measured on the cells of the"
        ]
        lines += ["annotation file (`examiners/points.csv`), not on those of any other source.", ""]
        lines += [f"![{stem}]({stem}.svg)" for stem in s1] + [""]
    lines += ["## Saliency", ""]
    lines += [f"![saliency]({saliency})" if saliency else f"No panel: {without_saliency}.", ""]
    if saliency:
        lines += ["Gradient of the loss of the class that was named, from the network that held"]
        lines += [f"the cell out. Cells drawn by lot, seed {figures.seed}.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _describe_run(figures: CrossvalFigures) -> list[str]:
    pooled = figures.pooled
    lines = [
        f"- {figures.folds} fold{'s' if figures.folds > 1 else ''}, {pooled.n:,} cells held out"
        f" once each; {pooled.unreadable:,} more could not be read.",
        f"- Recipe: {', '.join(figures.recipes)}.",
    ]
    lines += [f"- {key}: {', '.join(values)}." for key, values in figures.digests.items()]
    lines += [
        f"- Bootstrap: {figures.replicates:,} replicates, seed {figures.seed}, percentile 95 %;"
        f" draws {_units(pooled)} with replacement, as many from each source as it has.",
        "- Other intervals are exact (Clopper–Pearson) and take cells as independent.",
    ]
    for fold, codes in figures.unsupported.items():
        if codes:
            lines.append(f"- Fold {fold} was trained without {', '.join(codes)}.")
    return [*lines, ""]


def _compare(figures: CrossvalFigures) -> list[str]:
    lines = ["| | cells | patients | accuracy | balanced accuracy | blast AUC | atypical AUC |"]
    lines += ["|---|--:|--:|---|---|---|---|"]
    for name, one in [*figures.sources.items(), ("pooled", figures.pooled)]:
        values = (one.accuracy, one.balanced_accuracy, one.blast_auc, one.atypical_auc)
        cells = " | ".join(_pooled(value) for value in values)
        lines.append(f"| {name} | {one.n:,} | {one.patients or '–'} | {cells} |")
    return [*lines, ""]


def _describe_set(one: CellFigures, directory: str, figures: CrossvalFigures) -> list[str]:
    cal = one.calibration
    lines = [f"{one.n:,} cells, {one.unreadable:,} unreadable; the bootstrap draws {_units(one)}."]
    if one.averaged:
        lines += [f"Means over classes are over {len(one.averaged)}: {', '.join(one.averaged)}."]
    lines += ["", "| figure | all held-out cells, 95 % | mean ± sd over folds | folds |"]
    lines += ["|---|---|---|--:|"]
    rows = [
        ("accuracy", one.accuracy),
        ("balanced accuracy", one.balanced_accuracy),
        ("macro-F1", one.macro_f1),
        ("AUC, P_blast", one.blast_auc),
        ("AUC, P_atypical", one.atypical_auc),
        ("expected calibration error", cal.ece),
        ("Brier score (0–2)", cal.brier),
        (f"log loss ({cal.log_loss_cells:,} cells)", cal.log_loss),
    ]
    lines += [_row(name, value) for name, value in rows]
    lines += ["", *_undefined(rows, figures.replicates)]
    lines += ["### Table 1", "", format_class_table(one.classes, folds=figures.folds)]
    lines += ["### Sensitivity at fixed specificity", "", *_describe_cuts(one.cuts)]
    lines += ["### Cells hidden", "", *_describe_control(one)]
    lines += ["### Figures", ""]
    names = ["confusion", "reliability"]
    names += ["roc-blast"] if one.blast_auc.value is not None else []
    names += ["roc-atypical"] if one.atypical_auc.value is not None else []
    lines += [f"![{name}]({quote(directory)}/{name}.svg)" for name in names]
    return [*lines, ""]


def _describe_cuts(cuts: Sequence[Cut]) -> list[str]:
    lines = ["| group | asked | threshold | sensitivity | specificity |", "|---|--:|--:|---|---|"]
    for one in cuts:
        cut = one.cut
        threshold = "none" if cut.threshold is None else f"{cut.threshold:.4f}"
        lines.append(
            f"| {one.group} | {cut.asked} | {threshold} | {_proportion(cut.sensitivity)}"
            f" | {_proportion(cut.specificity)} |"
        )
    lines += ["", "Thresholds are found on the cells they are measured on.", ""]
    if not any(one.detection for one in cuts):
        return lines
    lines += ["Limit of detection of blasts (CLSI EP17-A2), supposing the same rates in every"]
    lines += ["patient:", ""]
    lines += ["| threshold of specificity | rates | sensitivity | specificity | cells counted |"]
    lines[-1] += " limit of blank, cells | limit of detection, blasts |"
    lines += ["|--:|---|--:|--:|--:|--:|--:|"]
    for one in cuts:
        if one.detection:
            lines.append(_limit(one.cut.asked, "measured", one.detection.point))
            lines.append(_limit(one.cut.asked, "lower ends", one.detection.unfavourable))
    return [*lines, ""]


def _limit(asked: float, rates: str, limit: DetectionLimit) -> str:
    fraction = "none" if limit.fraction is None else f"{limit.fraction:.2%}"
    return (
        f"| {asked} | {rates} | {limit.sensitivity:.4f} | {limit.specificity:.4f}"
        f" | {limit.cells:,} | {limit.blank} | {fraction} |"
    )


def _describe_control(one: CellFigures) -> list[str]:
    control = one.background
    if control is None:
        return ["Not measured.", ""]
    lines = ["The same networks and cells, each cell painted over with its patch's glass.", ""]
    lines += ["| figure | all held-out cells, 95 % | mean ± sd over folds | folds |"]
    lines += ["|---|---|---|--:|"]
    aucs = (("AUC, P_blast", control.blast_auc), ("AUC, P_atypical", control.atypical_auc))
    rows = (*aucs, ("balanced accuracy", control.balanced_accuracy))
    lines += [_row(name, value) for name, value in rows] + [""]
    for name, value in aucs:
        lines += _inside(name, value, 0.5)
    chance = control.chance_balanced_accuracy
    if chance is not None:
        lines += _inside("balanced accuracy", control.balanced_accuracy, chance)
    return [*lines, ""]


def _inside(name: str, figure: Figure, chance: float) -> list[str]:
    if figure.value is None:
        return [f"- {name}: undefined on these cells."]
    if figure.ci95 is None:
        return [f"- {name}: no interval, for want of two units to draw."]
    inside = figure.ci95[0] <= chance <= figure.ci95[1]
    where = "inside" if inside else "outside"
    return [f"- {name}: {chance:.3g} (chance) lies {where} the interval {_interval(figure.ci95)}."]


def _undefined(rows: Sequence[tuple[str, Figure]], replicates: int) -> list[str]:
    return [
        f"{name}: {figure.undefined_replicates:,} of {replicates:,} replicates leave it undefined"
        " and are left out.\n"
        for name, figure in rows
        if figure.undefined_replicates
    ]


def _row(name: str, figure: Figure) -> str:
    defined = sum(value is not None for value in figure.folds)
    spread = "–" if figure.fold_mean is None else f"{figure.fold_mean:.3f}"
    if figure.fold_sd is not None:
        spread += f" ± {figure.fold_sd:.3f}"
    return f"| {name} | {_pooled(figure)} | {spread} | {defined} |"


def _pooled(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    return f"{figure.value:.3f}" + (f" {_interval(figure.ci95)}" if figure.ci95 else "")


def _proportion(one: Proportion) -> str:
    if one.value is None or one.ci95 is None:
        return "–"
    return f"{one.count}/{one.total} = {one.value:.3f} {_interval(one.ci95)}"


def _interval(interval: Interval) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _units(one: CellFigures) -> str:
    parts = [f"{n:,} {kind if n != 1 else kind.removesuffix('s')}" for kind, n in one.units.items()]
    return " and ".join(parts) or "nothing"
