"""How good a detector is: on fields with boxes, and on crops of single cells; by source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.background import estimate_background
from models.detector import Detector
from models.peak import Peak, judge_peaks
from models.red_cell import estimate_red_cell
from models.training.detector.fields import CellRecord, FieldRecord, read_rgb, resample

SLIVER_UM: Final = 4.0
"""A box on the field's edge whose shorter side is below this is neither wanted nor counted
against: a rim of a cell. Every other box counts, cut or not."""

EDGE_PX: Final = 2.0
"""A box this near the border counts as on the edge, in px of the field."""


CENTRE_UM: Final = 6.0
"""A peak this near the centre of a crop is the cell that the crop was cut around."""


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """One field: leukocytes found, missed, and peaks that are none."""

    source: str
    found: int
    missed: int
    false: int


@dataclass(frozen=True, slots=True)
class SourceScore:
    """One source's figures. `recall` and `precision` are nan where nothing could be counted."""

    fields: int
    leukocytes: int
    found: int
    false: int

    @property
    def recall(self) -> float:
        """Share of leukocytes that were found."""
        return self.found / self.leukocytes if self.leukocytes else float("nan")

    @property
    def precision(self) -> float:
        """Share of peaks that are leukocytes."""
        peaks = self.found + self.false
        return self.found / peaks if peaks else float("nan")

    @property
    def false_per_field(self) -> float:
        """Peaks that are no leukocyte, per field."""
        return self.false / self.fields


@dataclass(frozen=True, slots=True)
class CropScore:
    """How many of the cells that crops were cut around were found."""

    cells: int
    found: int

    @property
    def recall(self) -> float:
        """Share that was found."""
        return self.found / self.cells


def match_peaks(
    peaks: Sequence[Peak], boxes: NDArray[np.float64], slivers: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Match peaks to boxes: a peak finds a box that holds its centre; one-to-one, greedy by score.

    Of several boxes that hold a peak the one with the nearest centre is taken.

    Args:
        peaks: of one field.
        boxes: x0, y0, x1, y1, shape (n, 4), same frame.
        slivers: shape (n,): boxes neither wanted nor counted against.

    Returns:
        Boxes found, boxes missed, peaks without a box.
    """
    free = np.ones(len(boxes), dtype=bool)
    false = 0
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    for peak in sorted(peaks, key=lambda peak: -peak.score):
        at = np.array([peak.x, peak.y])
        holds = free & (boxes[:, :2] <= at).all(axis=1) & (at <= boxes[:, 2:]).all(axis=1)
        if holds.any():
            away = np.where(holds, np.hypot(*(centre - at).T), np.inf)
            free[int(away.argmin())] = False
        else:
            false += 1
    wanted = ~slivers
    return int((~free & wanted).sum()), int((free & wanted).sum()), false


def evaluate_field(detector: Detector, field: FieldRecord, rgb: NDArray[np.uint8]) -> FieldOutcome:
    """Detect on one field at the detector's scale and match with its boxes.

    Args:
        detector: frozen.
        field: the record of `rgb`.
        rgb: the field as stored, shape (height, width, 3).
    """
    peaks, to_small = _detect(detector, field.um_per_px, rgb)
    boxes = field.boxes * np.tile(to_small, 2)
    height, width = rgb.shape[:2]
    on_edge = (field.boxes[:, :2] <= EDGE_PX).any(axis=1) | (
        field.boxes[:, 2:] >= np.array([width, height]) - EDGE_PX
    ).any(axis=1)
    shorter_um = (field.boxes[:, 2:] - field.boxes[:, :2]).min(axis=1, initial=np.inf)
    slivers = on_edge & (shorter_um * field.um_per_px < SLIVER_UM)
    return FieldOutcome(field.source, *match_peaks(peaks, boxes, slivers))


def evaluate_crop(detector: Detector, um_per_px: float, rgb: NDArray[np.uint8]) -> bool:
    """Whether the cell that a crop was cut around is found.

    Args:
        detector: frozen.
        um_per_px: of `rgb`.
        rgb: the crop as stored, shape (height, width, 3).
    """
    peaks, to_small = _detect(detector, um_per_px, rgb)
    centre = np.array(rgb.shape[1::-1]) / 2 * to_small
    reach_px = CENTRE_UM / detector.card.um_per_px
    return any(np.hypot(*(centre - (peak.x, peak.y))) <= reach_px for peak in peaks)


def evaluate_crops(
    detector: Detector, cells: Iterable[CellRecord], root: Path
) -> dict[tuple[str, str], CropScore]:
    """Scores by source and label, sorted by these. Broken files are left out."""
    found: dict[tuple[str, str], list[bool]] = {}
    for cell in cells:
        try:
            rgb = read_rgb(root / cell.path)
        except OSError:
            continue
        is_found = evaluate_crop(detector, cell.um_per_px, rgb)
        found.setdefault((cell.source, cell.label), []).append(is_found)
    return {key: CropScore(len(group), sum(group)) for key, group in sorted(found.items())}


def _detect(
    detector: Detector, um_per_px: float, rgb: NDArray[np.uint8]
) -> tuple[list[Peak], NDArray[np.float64]]:
    """Cells of an image at the detector's scale, and what takes its px there (x, y)."""
    card = detector.card
    small = resample(rgb, um_per_px / card.um_per_px)
    background = estimate_background(small)
    red_cell = estimate_red_cell(small, background)
    (peaks,) = detector.detect(small[None], background, red_cell)
    cells, _ = judge_peaks(peaks, card)
    return cells, np.array(small.shape[1::-1]) / np.array(rgb.shape[1::-1])


def evaluate_fields(
    detector: Detector, fields: Iterable[FieldRecord], root: Path
) -> dict[str, SourceScore]:
    """Scores by source, in the order sources first appear. Broken files are left out."""
    outcomes: dict[str, list[FieldOutcome]] = {}
    for field in fields:
        try:
            rgb = read_rgb(root / field.path)
        except OSError:
            continue
        outcomes.setdefault(field.source, []).append(evaluate_field(detector, field, rgb))
    return {source: sum_outcomes(group) for source, group in outcomes.items()}


def sum_outcomes(outcomes: Sequence[FieldOutcome]) -> SourceScore:
    """The score of fields of one source."""
    found = sum(outcome.found for outcome in outcomes)
    return SourceScore(
        fields=len(outcomes),
        leukocytes=found + sum(outcome.missed for outcome in outcomes),
        found=found,
        false=sum(outcome.false for outcome in outcomes),
    )
