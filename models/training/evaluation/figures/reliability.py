"""Reliability diagrams: what was said against what was so, with the cells behind every point."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.training.evaluation.figures.style import BLUE, GREY, PAGE_IN, styled
from models.training.evaluation.records import Calibration, ReliabilityBin


@styled
def draw_reliability(calibration: Calibration, *, title: str) -> Figure:
    """Left the top class, right P_blast; below each the number of cells, on a log scale."""
    figure = Figure(figsize=(PAGE_IN * 0.75, 3.3), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", height_ratios=(3, 1), squeeze=False)
    ece = calibration.ece.value
    said = "" if ece is None else f" (ECE {ece:.3f})"
    _draw_column(grid[0, 0], grid[1, 0], calibration.top_class)
    grid[0, 0].set_title(f"top class{said}")
    grid[1, 0].set_xlabel("probability of the top class")
    grid[0, 0].set_ylabel("share correct")
    _draw_column(grid[0, 1], grid[1, 1], calibration.blast)
    grid[0, 1].set_title("blasts")
    grid[1, 1].set_xlabel("P(blast)")
    grid[0, 1].set_ylabel("share that are blasts")
    grid[1, 0].set_ylabel("cells")
    figure.suptitle(title, fontsize=8)
    return figure


def _draw_column(above: Axes, below: Axes, bins: Sequence[ReliabilityBin]) -> None:
    above.plot([0, 1], [0, 1], color=GREY, linewidth=0.5, linestyle=(0, (2, 2)))
    seen = [(b, b.observed.value, b.observed.ci95) for b in bins]
    for one, value, interval in seen:
        if value is None or interval is None:
            continue
        error = [[value - interval[0]], [interval[1] - value]]
        above.errorbar(
            one.mean_probability,
            value,
            yerr=error,
            fmt="o",
            markersize=3,
            color=BLUE,
            elinewidth=0.7,
            capsize=1.5,
        )
    above.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    widths = [b.high - b.low for b in bins]
    below.bar(
        [b.low for b in bins],
        [b.observed.total for b in bins],
        width=widths,
        align="edge",
        color=BLUE,
        alpha=0.6,
        edgecolor="white",
        linewidth=0.4,
    )
    if bins:
        below.set_yscale("log")
        below.set_ylim(0.7, 2 * max(b.observed.total for b in bins))
