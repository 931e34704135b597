"""A leukocyte as the detector reports it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.spatial import cKDTree


@dataclass(frozen=True, slots=True)
class Peak:
    """One leukocyte found in a field.

    Attributes:
        x, y: centre, field px.
        diameter_um: of the whole cell, estimated.
        score: how sure the detector is, 0–1; no probability.
    """

    x: float
    y: float
    diameter_um: float
    score: float


def merge_peaks(peaks: Sequence[Peak], distance: float) -> list[Peak]:
    """One peak of each cell: of those nearer to each other than a distance, the best.

    Best first, each drops those around it; what is dropped drops nothing.

    Args:
        peaks: of one image or slide, in one frame, each judged by itself.
        distance: in the peaks' unit: `DetectorCard.min_distance_um` there.

    Returns:
        Best score first.
    """
    ranked = sorted(peaks, key=lambda peak: (-peak.score, peak.y, peak.x))
    if len(ranked) < 2:
        return ranked
    pairs = cKDTree([(peak.x, peak.y) for peak in ranked]).query_pairs(distance)
    weaker: dict[int, list[int]] = {}
    for strong, weak in pairs:
        weaker.setdefault(strong, []).append(weak)
    dropped: set[int] = set()
    for rank in sorted(weaker):
        if rank not in dropped:
            dropped.update(weaker[rank])
    return [peak for rank, peak in enumerate(ranked) if rank not in dropped]
