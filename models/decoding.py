"""From a heat map to leukocytes: its peaks, what a second look makes of them, their centres.

Coordinates are in field px with the origin at the outer corner of the top left pixel: the centre
of pixel (i, j) is (i + 0.5, j + 0.5). A cell is `OUTPUT_STRIDE` px of the field wide.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.nets.heatmap import OUTPUT_STRIDE
from models.peak import Peak

PEAK_REACH: Final = 2.0
"""A cell of the heat map proposes a leukocyte if none within this many cells (2.3 µm) is hotter.
Farther ones do not silence it: between two blasts that touch the heat may be higher than on one of
them. Of proposals of one cell `models.peak.merge_peaks` keeps the one with the best score."""


def find_peaks(
    heat: NDArray[np.float32], threshold: float, reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cells of a heat map that are peaks.

    A cell is a peak if it reaches the threshold and no higher cell lies within `reach`; of equal
    ones the upper, then the left one wins. The rule looks no further than `reach`, so peaks do not
    depend on where the map was cut.

    Args:
        heat: shape (rows, cols), 0–1, one cell per `OUTPUT_STRIDE` px.
        threshold: least heat.
        reach: cells; at least 1.

    Returns:
        Rows and columns, sorted by row, then column.
    """
    k = int(np.floor(reach))
    padded = np.pad(heat, k, constant_values=-1.0)
    rows, cols = np.nonzero(heat >= threshold)
    alive = np.ones(len(rows), dtype=bool)
    value = heat[rows, cols]
    for dy in range(-k, k + 1):
        for dx in range(-k, k + 1):
            if (dy, dx) == (0, 0) or dy * dy + dx * dx > reach * reach:
                continue
            other = padded[rows + k + dy, cols + k + dx]
            earlier = (dy, dx) < (0, 0)
            alive &= (value > other) if earlier else (value >= other)
    return rows[alive], cols[alive]


def join_verdicts(
    heat: NDArray[np.float32], verdict: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """Score of peaks, 0–1: the logits of both networks added, the second one's times `weight`.

    Args:
        heat: of the peaks, 0–1, shape (N,).
        verdict: the verifier's logits, shape (N,).
        weight: from the card.
    """
    heat = np.clip(heat, 1e-6, 1.0 - 1e-6)
    logit = np.log(heat / (1.0 - heat)) + np.float32(weight) * verdict
    score: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    return score


def read_peaks(
    heat: NDArray[np.float32],
    diameter_um: NDArray[np.float32],
    score: NDArray[np.float32],
    *,
    threshold: float,
) -> list[Peak]:
    """Peaks of one field's maps.

    The centre is refined by a parabola through the heat of a peak and its neighbours in each
    direction.

    Args:
        heat: shape (rows, cols), 0–1, one cell per `OUTPUT_STRIDE` px.
        diameter_um: same shape.
        score: same shape, 0 where there is no peak.
        threshold: least score; above 0.

    Returns:
        Sorted by y, then x; field px.
    """
    padded = np.pad(heat, 1, constant_values=-1.0)
    rows, cols = np.nonzero(score >= threshold)
    peaks = [
        Peak(
            x=(col + 0.5 + _vertex(padded[row + 1, col : col + 3])) * OUTPUT_STRIDE,
            y=(row + 0.5 + _vertex(padded[row : row + 3, col + 1])) * OUTPUT_STRIDE,
            diameter_um=float(diameter_um[row, col]),
            score=float(score[row, col]),
        )
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    return sorted(peaks, key=lambda peak: (peak.y, peak.x))


def _vertex(heat: NDArray[np.float32]) -> float:
    """Offset in cells, -0.5 to 0.5, of the vertex of a parabola through three heats."""
    before, centre, after = (float(value) for value in heat)
    if before < 0.0 or after < 0.0:
        return 0.0
    curvature = before - 2.0 * centre + after
    return 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
