"""The networks as the pipeline sees them: in this process or in another."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.allocator import keep_freed_memory
from models.card import ClassifierCard
from models.detector import DEFAULT_DETECTOR, Detector
from models.errors import ModelError
from models.predictor import DEFAULT_WEIGHTS, Classifier
from service.contract.failure import AnalysisError, FailureCode
from worker.cpus import usable_cpus
from worker.detection import SupportsDetect


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


@dataclass(frozen=True, slots=True)
class LocalPredictor:
    """Both networks in this process."""

    detector: Detector
    classifier: Classifier

    @classmethod
    def load(cls, *, classifier: str = DEFAULT_WEIGHTS, device: str | None = None) -> Self:
        """Load both networks; sets this process's allocator and number of torch threads.

        Args:
            classifier: name of the weights, a directory with weights, or "default".
            device: "cpu", "cuda", …; None takes CUDA where there is one.

        Raises:
            AnalysisError: model_unavailable, with what is wrong with which weights.
        """
        keep_freed_memory()
        torch.set_num_threads(usable_cpus())
        device = device or default_device()
        try:
            return cls(
                Detector.load(DEFAULT_DETECTOR, device=device),
                Classifier.load(classifier, device=device),
            )
        except ModelError as err:
            raise AnalysisError(FailureCode.MODEL_UNAVAILABLE, str(err)) from err


def default_device() -> str:
    """CUDA if this machine has it, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
