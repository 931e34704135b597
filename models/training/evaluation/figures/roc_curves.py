"""ROC of P_blast and P_atypical with the examiners' points (Matek et al. 2019, Fig. 3C and 3D)."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.training.evaluation.examiners import ExaminerPoint
from models.training.evaluation.figures.style import (
    BLUE,
    COLUMN_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    styled,
)
from models.training.evaluation.operating import RocCurve
from models.training.evaluation.records import Figure as Number

PUBLISHED_POINTS: Final = {"blast": (0.953, 0.911), "atypical": (0.959, 0.910)}
"""Second examiner's sensitivity and specificity, Matek et al. 2019, Fig. 3C and 3D."""

PUBLISHED_AUCS: Final = {"blast": (0.992, 0.001), "atypical": (0.991, 0.002)}
"""Mean and standard deviation over five folds, in the same place."""

ZOOM: Final = 0.3
"""Width of the corner that is drawn again, enlarged."""

ZOOM_FROM: Final = 0.85
"""AUC above which it is: a lower curve would pass under the enlargement."""

_EXAMINER_COLOURS: Final = (ORANGE, GREEN, PURPLE, GREY)


@styled
def draw_roc(
    pooled: RocCurve,
    folds: Sequence[RocCurve],
    auc: Number,
    *,
    group: str,
    title: str,
    examiners: Sequence[ExaminerPoint] = (),
    paper_reference: bool = False,
) -> Figure:
    """Every fold thin, all held-out cells together thick, and the upper left corner enlarged.

    Args:
        pooled: over all held-out cells.
        folds: those that have both kinds of cell.
        auc: of the group.
        group: "blast" or "atypical".
        title: above the figure.
        examiners: points of this group and others; only this group's are drawn.
        paper_reference: draw the published examiner's point too, and name the published AUC.
    """
    points = [point for point in examiners if point.group == group]
    side, below = 0.83 * COLUMN_IN, 0.47 + 0.125 * (2 + len(points) + paper_reference)
    height = side + below + 0.42
    figure = Figure(figsize=(COLUMN_IN, height))
    axes = figure.add_axes((0.13, below / height, 0.83, side / height))
    panels = [axes]
    if auc.value is not None and auc.value > ZOOM_FROM:
        panels.append(_add_zoom(axes))
    for where in panels:
        _draw_curves(where, pooled, folds, auc)
        _draw_points(where, points)
        if paper_reference:
            _draw_published(where, group)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.5, linestyle=(0, (2, 2)), zorder=0)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate (1 − specificity)")
    axes.set_ylabel("true positive rate (sensitivity)")
    axes.set_title(title)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.09, 0.0), labelspacing=0.35)
    return figure


def _add_zoom(axes: Axes) -> Axes:
    inset = axes.inset_axes((0.40, 0.12, 0.56, 0.56))
    inset.set(xlim=(-0.006, ZOOM), ylim=(1 - ZOOM, 1.006))
    inset.set_xticks((0, 0.1, 0.2, 0.3))
    inset.set_yticks((0.7, 0.8, 0.9, 1.0))
    inset.spines[:].set_visible(True)
    inset.spines[:].set_color(GREY)
    return inset


def _draw_curves(axes: Axes, pooled: RocCurve, folds: Sequence[RocCurve], auc: Number) -> None:
    label = None
    if auc.fold_mean is not None and auc.fold_sd is not None:
        label = f"folds ({len(folds)}): AUC {auc.fold_mean:.3f} ± {auc.fold_sd:.3f} (mean ± sd)"
    if len(folds) > 1:
        for curve in folds:
            axes.plot(
                curve.false_positive_rate,
                curve.true_positive_rate,
                color=BLUE,
                alpha=0.45,
                linewidth=0.5,
                label=label,
            )
            label = None
    interval = ""
    if auc.ci95:
        interval = f" [{auc.ci95[0]:.3f}, {auc.ci95[1]:.3f}]"
    axes.plot(
        pooled.false_positive_rate,
        pooled.true_positive_rate,
        color=BLUE,
        linewidth=1.2,
        label=f"all held-out cells: AUC {auc.value:.3f}{interval}",
    )


def _draw_points(axes: Axes, points: Sequence[ExaminerPoint]) -> None:
    names = sorted({str(point.examiner) for point in points})
    for point in points:
        colour = _EXAMINER_COLOURS[names.index(str(point.examiner)) % len(_EXAMINER_COLOURS)]
        dropped = point.unc == "dropped"
        axes.plot(
            1 - point.specificity,
            point.sensitivity,
            linestyle="none",
            marker="o" if dropped else "s",
            markersize=4,
            markeredgewidth=0.8,
            markeredgecolor=colour,
            markerfacecolor=colour if dropped else "white",
            label=f"{point.examiner}, UNC {point.unc} (n = {point.n:,} of LMU)",
            zorder=4,
        )


def _draw_published(axes: Axes, group: str) -> None:
    sensitivity, specificity = PUBLISHED_POINTS[group]
    mean, sd = PUBLISHED_AUCS[group]
    axes.plot(
        1 - specificity,
        sensitivity,
        linestyle="none",
        marker="x",
        markersize=5,
        color="black",
        label=f"Matek et al. 2019: examiner 2 (network: AUC {mean} ± {sd})",
        zorder=5,
    )
