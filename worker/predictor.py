"""The networks as the pipeline sees them: in this process or in another. Loads no torch."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard
from models.detector_card import DetectorCard
from models.peak import Peak


class SupportsDetect(Protocol):
    """A detector, local or remote."""

    @property
    def card(self) -> DetectorCard:
        """Scale, margin, stride and least distance."""

    def detect(
        self,
        fields: NDArray[np.uint8],
        background: NDArray[np.floating],
        red_cell: NDArray[np.floating],
        *,
        rim_px: int = 0,
    ) -> list[list[Peak]]:
        """As `models.detector.Detector.detect`."""


class SupportsClassify(Protocol):
    """A classifier, local or remote."""

    @property
    def card(self) -> ClassifierCard:
        """Patch size, classes, thresholds."""

    def predict(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `models.predictor.Classifier.predict`."""


class Predictor(Protocol):
    """Everything the pipeline asks of networks. Holds no state between calls."""

    @property
    def detector(self) -> SupportsDetect:
        """Finds leukocytes in pixels."""

    @property
    def classifier(self) -> SupportsClassify:
        """Names leukocytes in patches."""
