"""The networks as the pipeline sees them: in this process or in another."""

from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.allocator import keep_freed_memory
from models.card import ClassifierCard
from models.detector import DEFAULT_DETECTOR, Detector, DetectorCard, Peak
from models.errors import ModelError
from models.predictor import DEFAULT_CLASSIFIER, Classifier
from service.contract.failure import AnalysisError, FailureCode

DEFAULT: Final = "default"
"""On a command line: the weights this version serves unless told otherwise."""


class Predictor(Protocol):
    """Detector and classifier. Holds no state between calls."""

    @property
    def detector_card(self) -> DetectorCard:
        """Of the detector."""

    @property
    def classifier_card(self) -> ClassifierCard:
        """Of the classifier."""

    def detect(
        self, fields: NDArray[np.uint8], background: NDArray[np.floating]
    ) -> list[list[Peak]]:
        """Leukocytes in fields of one slide; see `models.detector.Detector.detect`."""

    def classify(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of patches; see `models.predictor.Classifier.predict`."""


class LocalPredictor:
    """Both networks in this process."""

    def __init__(self, detector: Detector, classifier: Classifier) -> None:
        self._detector = detector
        self._classifier = classifier

    @classmethod
    def load(
        cls, *, classifier: str = DEFAULT, detector: str = DEFAULT, device: str | None = None
    ) -> Self:
        """Load both by the names of their weights; on CUDA where there is one unless told.

        Raises:
            AnalysisError: model_unavailable, with what is wrong with which weights.
        """
        keep_freed_memory()
        where = device or default_device()
        try:
            return cls(
                Detector.load(DEFAULT_DETECTOR if detector == DEFAULT else detector, device=where),
                Classifier.load(
                    DEFAULT_CLASSIFIER if classifier == DEFAULT else classifier, device=where
                ),
            )
        except ModelError as err:
            raise AnalysisError(FailureCode.MODEL_UNAVAILABLE, str(err)) from err

    @property
    def detector_card(self) -> DetectorCard:
        """Of the detector."""
        return self._detector.card

    @property
    def classifier_card(self) -> ClassifierCard:
        """Of the classifier."""
        return self._classifier.card

    def detect(
        self, fields: NDArray[np.uint8], background: NDArray[np.floating]
    ) -> list[list[Peak]]:
        """Leukocytes in fields of one slide."""
        return self._detector.detect(fields, background)

    def classify(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of patches."""
        return self._classifier.predict(patches)


def default_device() -> str:
    """CUDA if this machine has it, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
