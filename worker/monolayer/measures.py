"""What is measured of a tile, and the verdict that follows from it.

A tile's score is the least of three grades, each 0–1 and each falling linearly between two limits:
is there something to count, is it one layer, is it in focus. A tile is countable from 0.5; below,
the first grade in this order that is below 0.5 names the verdict, for glass has no focus to speak
of. So each verdict has one reason that can be read off the measures.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.density import density_table
from worker.monolayer.focus import measure_blur_um
from worker.monolayer.stain import Stain

COUNTABLE: Final = 0.5
"""Least score of a countable tile."""

LAYERS_PRESENT: Final = (0.01, 0.07)
"""Cell layers of a tile that are nothing to count, and that are enough."""

LAYERS_SINGLE: Final = (0.6, 1.0)
"""Cell layers up to which a tile is thin, and from which it is thick. The densest tile of the
countable mosaics has 0.60, the median one 0.30."""

PALEST: Final = 0.1
"""Share of a tile that is gap between cells wherever there is something to count."""

MAX_HAZE: Final = 0.15
"""Layers that uneven light can feign: where the lamp falls off by 5 %, glass is as dense as a tenth
of a red cell of usual stain. More than this is taken for cells."""

OVERLAP_SINGLE: Final = (0.25, 0.65)
"""Overlap up to which cells lie side by side, and from which they lie in stacks. Cells strewn
without regard to each other reach 0.27 at 0.6 layers; the countable mosaics 0.15 at most."""

BLUR_SHARP_UM: Final = (0.65, 0.95)
"""Blur up to which a tile is in focus, and from which it is not. The mosaics have 0.43–0.59;
blurred by a Gaussian of 0.5 µm 0.55–0.74, of 0.75 µm 0.70–0.88, of 1 µm 0.86–1.05."""

CELL: Final = 0.5
"""Layers from which a pixel is cell."""

DOUBLE: Final = 1.5
"""Layers from which a pixel is more than one red cell thick."""

LEUKOCYTE: Final = 0.4
"""Layers of red less blue density, beyond a red cell's tint, from which a pixel is leukocyte."""

MAX_LAYERS: Final = 3.0
"""Nuclei, dirt, ink and dye deposits count as this much, not more."""

BARE: Final = 0.02
"""Coverage below which a square within a tile is bare: of 19 µm × 19 µm, a platelet."""


class Verdict(StrEnum):
    """What a tile is."""

    MONOLAYER = "monolayer"
    GLASS = "glass"
    THICK = "thick"
    OUT_OF_FOCUS = "out_of_focus"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured of one tile.

    Attributes:
        layers: mean number of red cells over a point, leukocytes left out. Blur hardly changes it.
        coverage: share of the area that is cell, leukocytes included.
        overlap: share of the red-cell area that is more than one cell thick.
        leukocytes: share of the area that is nucleus or dark cytoplasm of a leukocyte.
        blur_um: standard deviation of the blur of the borders between cells and gaps,
            micrometres; NaN without borders.
        haze: of `layers`, what even the tile's palest parts have: the lamp falls off, the glass
            is not clean. Left out when asking whether there is something to count.
    """

    layers: float
    coverage: float
    overlap: float
    leukocytes: float
    blur_um: float
    haze: float = 0.0

    @property
    def score(self) -> float:
        """How countable the tile is, 0–1."""
        return min(self._grades().values())

    @property
    def verdict(self) -> Verdict:
        """What the tile is: the first of glass, thick and out of focus that applies."""
        failing = (verdict for verdict, grade in self._grades().items() if grade < COUNTABLE)
        return next(failing, Verdict.MONOLAYER)

    def _grades(self) -> dict[Verdict, float]:
        single = min(_fall(self.layers, LAYERS_SINGLE), _fall(self.overlap, OVERLAP_SINGLE))
        return {
            Verdict.GLASS: 1 - _fall(max(self.layers - self.haze, self.coverage), LAYERS_PRESENT),
            Verdict.THICK: single,
            Verdict.OUT_OF_FOCUS: _fall(self.blur_um, BLUR_SHARP_UM),
        }


BARE_GLASS: Final = Measures(0.0, 0.0, 0.0, 0.0, float("nan"))


def measure_tile(rgb: NDArray[np.uint8], stain: Stain) -> Measures:
    """Measure one tile.

    Args:
        rgb: shape (height, width, 3), 0–255, at `grid.UM_PER_PX`.
        stain: of the tile's slide.
    """
    layers = _layers_table(stain)
    red, green, blue = (np.take(layers[i], rgb[..., i]) for i in range(3))
    cell = green > CELL
    leukocyte = cell & (red - blue - stain.tint * green > LEUKOCYTE)
    other = ~leukocyte
    erythrocytes = int(np.count_nonzero(cell & other))
    stacked = int(np.count_nonzero((green > DOUBLE) & other))
    return Measures(
        layers=float(green[other].mean()) if other.any() else 0.0,
        coverage=np.count_nonzero(cell) / cell.size,
        overlap=stacked / max(1, erythrocytes),
        leukocytes=1 - np.count_nonzero(other) / cell.size,
        blur_um=measure_blur_um(rgb[..., 1], np.minimum(layers[1], np.float32(DOUBLE))),
        haze=_measure_haze(rgb[..., 1], layers[1]),
    )


def find_bare(rgb: NDArray[np.uint8], stain: Stain, edge_px: int) -> NDArray[np.bool_]:
    """Which squares of a tile hold (almost) no cell.

    Args:
        rgb: shape (height, width, 3), 0–255.
        stain: of the tile's slide.
        edge_px: of a square.

    Returns:
        Shape (ceil(height / edge_px), ceil(width / edge_px)).
    """
    cell = np.take(_layers_table(stain)[1] > CELL, rgb[..., 1])
    height, width = cell.shape
    squares = np.pad(cell, ((0, -height % edge_px), (0, -width % edge_px)))
    rows, cols = squares.shape[0] // edge_px, squares.shape[1] // edge_px
    count = squares.reshape(rows, edge_px, cols, edge_px).sum(axis=(1, 3))
    bare: NDArray[np.bool_] = count < BARE * edge_px**2
    return bare


def _measure_haze(green: NDArray[np.uint8], layers: NDArray[np.float32]) -> float:
    """Layers of the palest tenth's darkest px, if they can be uneven light, else none.

    Args:
        green: shape (height, width).
        layers: of each value, shape (256,), falling or level.
    """
    brightest_first = np.bincount(green.ravel(), minlength=256)[::-1].cumsum()
    value = 255 - int(np.searchsorted(brightest_first, PALEST * green.size))
    haze = float(layers[value])
    return haze if haze <= MAX_HAZE else 0.0


def _layers_table(stain: Stain) -> NDArray[np.float32]:
    """Red-cell layers of each 8-bit value, shape (3, 256): red, green, blue light."""
    table = density_table(stain.background) / np.float32(stain.density)
    layers: NDArray[np.float32] = np.minimum(table, np.float32(MAX_LAYERS))
    return layers


def _fall(value: float, limits: tuple[float, float]) -> float:
    """1 up to the lower limit, 0 from the upper one, linear between; 0 for NaN."""
    low, high = limits
    return 0.0 if np.isnan(value) else min(1.0, max(0.0, (high - value) / (high - low)))
