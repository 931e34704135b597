"""A leukocyte as the detector reports it, and which peaks are leukocytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.spatial import cKDTree

from models.detector_card import DetectorCard


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


def judge_peaks(peaks: Sequence[Peak], card: DetectorCard) -> tuple[list[Peak], list[Peak]]:
    """Leukocytes, and what may be some and is not counted.

    A leukocyte has the card's threshold for its score; one that touches such a leukocyte, a lower
    one. What was found beside another counts nothing beside itself.

    Args:
        peaks: of one image or slide at the card's scale, in one frame, px, each judged by itself.
        card: of the detector that found them.

    Returns:
        Both the best score first.
    """
    merged = merge_peaks(peaks, card.min_distance_um / card.um_per_px)
    sure = [peak for peak in merged if peak.score >= card.threshold]
    unsure = merged[len(sure) :]
    beside = _touching(unsure, sure, card)
    return (
        sure + [peak for peak, touches in zip(unsure, beside, strict=True) if touches],
        [peak for peak, touches in zip(unsure, beside, strict=True) if not touches],
    )


def _touching(unsure: Sequence[Peak], sure: Sequence[Peak], card: DetectorCard) -> list[bool]:
    """Which of the unsure ones are leukocytes beside one."""
    if not sure or not unsure:
        return [False] * len(unsure)
    least, greatest = (um / card.um_per_px for um in card.touching_um)
    places = [(peak.x, peak.y) for peak in unsure]
    away, _ = cKDTree([(peak.x, peak.y) for peak in sure]).query(places)
    return [
        peak.score >= card.touching and least <= distance <= greatest
        for peak, distance in zip(unsure, away.tolist(), strict=True)
    ]
