"""What a verifier learns from: peaks of a heat map on canvases, leukocytes and others."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from models.decoding import PEAK_REACH, find_peaks
from models.detector import map_fields
from models.nets.heatmap import OUTPUT_STRIDE, HeatmapNet
from models.training.detector.canvas import Canvas, CanvasDataset
from models.verifier import cut_crops

LEAST_HEAT: Final = 0.08
"""Peaks from here on are learned from: below what is looked at in use, for there are more."""

AT_CENTRE: Final = 0.35
"""A peak this near a label's centre, in cell diameters, is that leukocyte."""

BESIDE: Final = 0.75
"""One beyond this is none; what lies between teaches nothing."""

ELSEWHERE_TRIES: Final = 6
ELSEWHERE_CHANCE: Final = 0.5
"""Of a place that no peak names, on something at least `STAINED` dense."""
STAINED: Final = 0.6

RIM_PX: Final = 12
"""Candidates nearer the canvas's edge are left out: half of their crop would be empty."""

SHIFT_CELLS: Final = 1
"""Crops are moved by up to this many heat cells: peaks do not lie exactly on centres."""

UNSURE_HEAT: Final = 0.6
"""Leukocytes with less heat, or none, weigh `UNSURE_WEIGHT` times as much."""
UNSURE_WEIGHT: Final = 1.5

FAINT_WEIGHT: Final = 0.3
HEAT_WEIGHT: Final = 6.0
HEAT_LIMIT: Final = 0.5
"""What a peak that is none weighs: `FAINT_WEIGHT`, and its heat, up to a limit, times
`HEAT_WEIGHT`. Most are faint; those that are not are what a second look is for."""

Sample = tuple[Tensor, Tensor, Tensor]


class CandidateDataset(Dataset[Sample]):
    """Candidates of canvases; an item is (crops (K, 3, C, C), leukocyte (K,), weight (K,)).

    Args:
        canvases: composed as for the heat map; another seed than the heat map's, so that it has
            not seen them.
        heatmap: fitted, in inference mode; its peaks are the candidates.
        seed: of turning and shifting.
    """

    def __init__(self, canvases: CanvasDataset, heatmap: HeatmapNet, *, seed: int) -> None:
        self._canvases = canvases
        self._heatmap = heatmap
        self._seed = seed

    def __getitem__(self, index: int) -> Sample:
        canvas = self._canvases.draw(index)
        rng = np.random.default_rng([self._seed, index])
        heat = map_fields(self._heatmap, canvas.density[None])[0, 0]
        rows, cols, leukocyte, weight = choose_candidates(canvas, heat, rng)
        rows = rows + rng.integers(-SHIFT_CELLS, SHIFT_CELLS + 1, len(rows))
        cols = cols + rng.integers(-SHIFT_CELLS, SHIFT_CELLS + 1, len(cols))
        last = len(heat) - 1
        crops = cut_crops(canvas.density, rows.clip(0, last), cols.clip(0, last))
        turned = np.rot90(crops, int(rng.integers(4)), (2, 3))
        turned = turned[..., ::-1] if rng.random() < 0.5 else turned
        return (
            torch.from_numpy(np.ascontiguousarray(turned)),
            torch.from_numpy(leukocyte.astype(np.float32)),
            torch.from_numpy(weight.astype(np.float32)),
        )


def choose_candidates(
    canvas: Canvas, heat: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64]]:
    """Cells of a canvas's heat map to learn from: peaks, leukocytes without one, a place elsewhere.

    Args:
        canvas: its labels tell leukocytes from others.
        heat: the heat map's, shape (S / OUTPUT_STRIDE, S / OUTPUT_STRIDE).
        rng: consumed for the place elsewhere.

    Returns:
        Rows, columns, which are leukocytes, and what each weighs.
    """
    size = canvas.ignored.shape[0]
    rows, cols = find_peaks(heat, LEAST_HEAT, PEAK_REACH)
    away, nearest = _nearest_label(canvas, rows, cols)
    found = away < AT_CENTRE
    heats = heat[rows, cols]
    use = found | ((away > BESIDE) & ~canvas.ignored[rows * OUTPUT_STRIDE, cols * OUTPUT_STRIDE])
    weight = np.where(
        found,
        np.where(heats < UNSURE_HEAT, UNSURE_WEIGHT, 1.0),
        FAINT_WEIGHT + HEAT_WEIGHT * np.minimum(heats, HEAT_LIMIT),
    )
    chosen = [(rows[use], cols[use], found[use], weight[use])]
    missed = np.setdiff1d(np.arange(len(canvas.labels)), nearest[found])
    at = (canvas.labels[missed, :2] // OUTPUT_STRIDE).astype(np.intp).clip(0, len(heat) - 1)
    known = ~canvas.ignored[at[:, 1] * OUTPUT_STRIDE, at[:, 0] * OUTPUT_STRIDE]
    at = at[known]
    chosen.append((at[:, 1], at[:, 0], np.ones(len(at), bool), np.full(len(at), UNSURE_WEIGHT)))
    for _ in range(ELSEWHERE_TRIES):
        row, col = rng.integers(0, len(heat), 2)
        y, x = row * OUTPUT_STRIDE, col * OUTPUT_STRIDE
        if canvas.density[1, y, x] < STAINED or canvas.ignored[y, x]:
            continue
        place = np.array([row]), np.array([col])
        if _nearest_label(canvas, *place)[0][0] < BESIDE:
            continue
        if rng.random() < ELSEWHERE_CHANCE:
            chosen.append((*place, np.zeros(1, bool), np.full(1, FAINT_WEIGHT)))
        break
    rows, cols, leukocyte, weight = (np.concatenate(part) for part in zip(*chosen, strict=True))
    y, x = (rows + 0.5) * OUTPUT_STRIDE, (cols + 0.5) * OUTPUT_STRIDE
    inside = (np.minimum(y, x) >= RIM_PX) & (np.maximum(y, x) <= size - RIM_PX)
    return rows[inside], cols[inside], leukocyte[inside], weight[inside]


def join_samples(samples: Sequence[Sample]) -> Sample:
    """One batch of several canvases' candidates; leukocytes and others weigh a half each."""
    crops, leukocyte, weight = (torch.cat(part) for part in zip(*samples, strict=True))
    for kind in (leukocyte == 1.0, leukocyte == 0.0):
        weight[kind] *= 0.5 / weight[kind].sum().clamp_min(1e-6)
    return crops, leukocyte, weight


def _nearest_label(
    canvas: Canvas, rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """How far the nearest leukocyte's centre is, in its diameters, and which one it is."""
    if not len(canvas.labels):
        return np.full(len(rows), np.inf), np.zeros(len(rows), np.intp)
    x, y, diameter_um = canvas.labels[:, :3].T
    at_x, at_y = (cols + 0.5) * OUTPUT_STRIDE, (rows + 0.5) * OUTPUT_STRIDE
    away_px = np.hypot(at_x[:, None] - x, at_y[:, None] - y)
    away = away_px * canvas.um_per_px / diameter_um
    nearest = away.argmin(axis=1)
    return away[np.arange(len(rows)), nearest], nearest
