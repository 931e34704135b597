"""Row-normalised confusion matrix (Matek et al. 2019, Fig. 3A and S1)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.training.evaluation.figures.style import BLUE, styled

_WHITE_TO_BLUE = LinearSegmentedColormap.from_list(
    "cells", ["#FFFFFF", "#9CC9E3", BLUE, "#00334F"]
).with_extremes(bad="#EEEEEE")


@styled
def draw_confusion(
    counts: NDArray[np.int64],
    codes: Sequence[str],
    *,
    rows: str,
    columns: str,
    title: str = "",
) -> Figure:
    """Each row's cells as shares of the row, with the row's number of cells beside it.

    Args:
        counts: shape (K, K), cells; a row without a cell is grey.
        codes: K names.
        rows: what a row is, for the axis.
        columns: what a column is.
        title: above the figure.
    """
    totals = counts.sum(axis=1)
    shares = np.divide(
        counts, totals[:, None], out=np.full(counts.shape, np.nan), where=totals[:, None] > 0
    )
    side = max(2.6, 0.245 * len(codes) + 1.0)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=_WHITE_TO_BLUE, vmin=0, vmax=1, aspect="equal")
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = shares[row, column]
        text = "<.01" if share < 0.005 else f"{share:.2f}".removeprefix("0")
        colour = "white" if share > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=5, color=colour)
    ticks = range(len(codes))
    axes.set_xticks(ticks, codes, rotation=90)
    axes.set_yticks(ticks, [f"{c}  {n:,}" for c, n in zip(codes, totals, strict=True)])
    axes.set_xticks(np.arange(len(codes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(codes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#D9D9D9", linewidth=0.3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(columns)
    axes.set_ylabel(f"{rows}, cells")
    axes.set_title(title)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25, pad=0.02)
    bar.set_label("share of row")
    bar.outline.set_visible(False)
    return figure
