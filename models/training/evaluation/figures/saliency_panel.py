"""Cells with what the network looked at (Matek et al. 2019, Fig. 3B)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.taxonomy import CODES, CellClass
from models.training.evaluation.figures.style import GREY, ORANGE, PAGE_IN, styled

PER_KIND: Final = 2
"""Right and wrong examples of a class, each."""

SHRINK: Final = 3
"""Patch pixels to one of the panel, along each side: a hundred images stay a few megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One cell in the panel.

    Attributes:
        patch: RGB, shape (H, H, 3), 0–255.
        saliency: shape (H, H), at least 0.
        label: its class.
        predicted: what the network said.
    """

    patch: NDArray[np.uint8]
    saliency: NDArray[np.float32]
    label: CellClass
    predicted: CellClass


@styled
def draw_saliency(examples: Sequence[Example]) -> Figure:
    """A row a class: right examples on the left, wrong ones on the right, each beside its map.

    A map is scaled to its own 99.5th percentile: brightness compares within a map only.
    """
    classes = [code for code in CODES if any(example.label is code for example in examples)]
    columns = 4 * PER_KIND
    cell_in = PAGE_IN / (columns + 0.6)
    figure = Figure(figsize=(PAGE_IN, cell_in * 1.16 * max(1, len(classes)) + 0.35))
    grid = figure.subplots(max(1, len(classes)), columns, squeeze=False)
    figure.subplots_adjust(
        left=0.055, right=0.995, top=1 - 0.33 / figure.get_figheight(), bottom=0.005,
        wspace=0.05, hspace=0.16,
    )  # fmt: skip
    for axes in grid.flat:
        axes.set_axis_off()
    for row, code in enumerate(classes):
        grid[row, 0].text(
            -0.15, 0.5, code, transform=grid[row, 0].transAxes, ha="right", va="center"
        )
        right = [e for e in examples if e.label is code and e.predicted is code]
        wrong = [e for e in examples if e.label is code and e.predicted is not code]
        for start, chosen in ((0, right), (2 * PER_KIND, wrong)):
            for index, example in enumerate(chosen[:PER_KIND]):
                column = start + 2 * index
                _draw_example(grid[row, column], grid[row, column + 1], example)
    for column, title in ((0, "named rightly"), (2 * PER_KIND, "named wrongly (as)")):
        left = grid[0, column].get_position().x0
        figure.text(left, 1 - 0.12 / figure.get_figheight(), title, fontsize=7, va="center")
    return figure


def _draw_example(patch_axes: Axes, map_axes: Axes, example: Example) -> None:
    patch_axes.imshow(_shrink(example.patch), interpolation="none")
    top = float(np.percentile(example.saliency, 99.5)) or 1.0
    map_axes.imshow(
        _shrink(np.minimum(example.saliency / top, 1.0)),
        cmap="inferno",
        vmin=0,
        vmax=1,
        interpolation="none",
    )
    right = example.predicted is example.label
    patch_axes.set_title(
        "" if right else example.predicted, fontsize=5.5, pad=1.5, color=GREY if right else ORANGE
    )


def _shrink(image: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.floating]:
    """Mean of SHRINK × SHRINK px, 0–1."""
    scale = 255.0 if image.dtype == np.uint8 else 1.0
    side = image.shape[0] // SHRINK
    part = image[: side * SHRINK, : side * SHRINK]
    blocks = part.reshape(side, SHRINK, side, SHRINK, -1)
    means: NDArray[np.floating] = blocks.mean(axis=(1, 3)).squeeze() / scale
    return means
