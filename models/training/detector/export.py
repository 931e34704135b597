"""Freeze a fitted detector: weights, and a card that says what they are."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Final

from models.catalogue import CARD_FILE, WEIGHTS_FILE
from models.checkpoint import save_weights
from models.detector import MARGIN_PX, DetectorNet
from models.detector_card import DetectorCard
from models.nets.heatmap import STRIDE
from models.training.detector.evaluate import SourceScore

UM_PER_PX: Final = 0.58
"""The detector's scale: 1/8 of the classifier's in each direction, 1/64 of its pixels."""

MIN_DISTANCE_UM: Final = 6.0
"""Below the diameter of the smallest leukocyte: the centres of two that touch are farther apart."""

CANDIDATE: Final = 0.25
"""Least heat of a peak that is verified; none below 0.29 came to count, in any laboratory."""

VERDICT_WEIGHT: Final = 0.3
THRESHOLD: Final = 0.61
"""Both chosen on the validation fields and crops, and on pig left out: no source loses a cell that
the heat map by itself found at its threshold of 0.4 (docs/experiments.md)."""

TOUCHING: Final = 0.5
"""Beside a leukocyte another is likely, and the heat map is less sure of blasts that touch."""

TOUCHING_UM: Final = (8.5, 15.0)
"""Nearer are second peaks of one cell: lobes, remains. Blasts that touch lie 8.6 to 14.6 apart
where that was looked at (docs/experiments.md)."""

DOUBTFUL: Final = 0.3
"""Half of the threshold: in laboratories it knows, up to 7 % of what reaches it is not counted, in
one that it does not know 35 % (docs/quality.md)."""

LICENCES: Final[Mapping[str, str]] = {
    "bccd": "BCCD fields via lugan113/TXL-PBC_Dataset @056d09e4, MIT",
    "bcd": "BCD fields via lugan113/TXL-PBC_Dataset @056d09e4, MIT",
    "raabin": "Raabin-WBC crops via lugan113/TXL-PBC_Dataset @056d09e4, MIT",
    "pig": "pig smears, FrancescaIE/WBC-detection-dataset @b4dc56f3, CC0",
    "chula": "Chula-RBC-12, Chula-PIC-Lab @fa130f48, MIT: no leukocytes",
    "deepapl": (
        "DeepAPL crops, sidhomj/DeepAPL @dc02ee83, (c) 2020 The Johns Hopkins University, "
        "no licence granted: research weights only"
    ),
    "pbc": "PBC, Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1, CC BY 4.0",
}

STATEMENT: Final = "Research use only. Not a medical device; not for diagnosis."


def describe_detector(
    network: DetectorNet, *, name: str, version: str, sources: Sequence[str]
) -> DetectorCard:
    """The card of a network that is not saved or evaluated yet.

    Args:
        network: as fitted.
        name: of the weights directory.
        version: of these weights.
        sources: data sets it was fitted on.
    """
    return DetectorCard(
        name=name,
        version=version,
        network=type(network).__name__,
        width=network.heatmap.width,
        um_per_px=UM_PER_PX,
        stride_px=STRIDE,
        margin_px=MARGIN_PX,
        candidate=CANDIDATE,
        verdict_weight=VERDICT_WEIGHT,
        threshold=THRESHOLD,
        doubtful=DOUBTFUL,
        touching=TOUCHING,
        touching_um=TOUCHING_UM,
        min_distance_um=MIN_DISTANCE_UM,
        normalisation=(
            "optical density relative to the slide's glass, each channel over the density of the "
            "slide's red cells, cut to 0-6"
        ),
        training_data=tuple(LICENCES.get(source, source) for source in sources),
        evaluation={},
        sha256="",
        statement=STATEMENT,
    )


def summarise_score(score: SourceScore) -> dict[str, float]:
    """A score as the card keeps it; figures that do not exist are left out."""
    figures = {
        "fields": float(score.fields),
        "leukocytes": float(score.leukocytes),
        "recall": score.recall,
        "precision": score.precision,
        "false_per_field": score.false_per_field,
    }
    return {name: round(value, 4) for name, value in figures.items() if isfinite(value)}


def export_detector(
    network: DetectorNet,
    card: DetectorCard,
    scores: Mapping[str, SourceScore],
    directory: Path,
) -> DetectorCard:
    """Write `weights.safetensors` and `card.json`; returns the card as written.

    Args:
        network: batch norms not folded.
        card: as `describe_detector` gives it.
        scores: on held-out fields, by source.
        directory: made if need be.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(network, directory / WEIGHTS_FILE)
    evaluation = {source: summarise_score(score) for source, score in scores.items()}
    card = card.model_copy(update={"sha256": sha256, "evaluation": evaluation})
    text = card.model_dump_json(indent=2)
    (directory / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    return card
