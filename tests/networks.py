"""Small stand-ins for the networks: they implement the protocols and nothing else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard, OperatingPoint
from models.detector import Detector
from models.taxonomy import CODES, INDEX, CellClass

HALF = OperatingPoint(threshold=0.5, sensitivity=0.9, specificity=0.95, basis="for tests")

CARD = ClassifierCard(
    name="by-darkness",
    version="1",
    network="none",
    classes=CODES,
    unsupported_classes=(CellClass.MOB, CellClass.PMB),
    input_px=160,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    temperature=1.0,
    calibration="none",
    blast=HALF,
    atypical=HALF,
    training=(),
    recipe="none",
    evaluation={},
    limitations=(),
    sha256="0" * 64,
)


class ClassifierByDarkness:
    """The darker a patch's centre, the more it is a myeloblast, else a segmented neutrophil."""

    card = CARD

    def predict(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        out = np.zeros((len(patches), len(CODES)), np.float32)
        if len(patches):
            out[:, INDEX[CellClass.MYO]] = 1 - patches[:, 150:250, 150:250].mean((1, 2, 3)) / 255
            out[:, INDEX[CellClass.NGS]] = 1 - out[:, INDEX[CellClass.MYO]]
        return out


@dataclass
class StandInPredictor:
    """The served detector with a classifier that needs no weights."""

    detector: Detector
    classifier: ClassifierByDarkness
