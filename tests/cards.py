"""Classifier cards for networks made up in a test."""

from models.card import ClassifierCard, OperatingPoint
from models.taxonomy import CODES, CellClass


def make_card(
    *,
    unsupported: tuple[CellClass, ...] = (),
    input_px: int = 400,
    network: str = "made-up",
    temperature: float = 1.0,
) -> ClassifierCard:
    cut = OperatingPoint(threshold=0.5, sensitivity=0, specificity=0, basis="unset")
    return ClassifierCard(
        name="made-up",
        version="1",
        network=network,
        classes=CODES,
        unsupported_classes=unsupported,
        input_px=input_px,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.25, 0.4),
        temperature=temperature,
        calibration="none",
        blast=cut,
        atypical=cut,
        training=(),
        recipe="none",
        evaluation={},
        limitations=(),
        sha256="0" * 64,
    )
