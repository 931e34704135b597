"""The networks in this process: what `smearscan scan` and the model process load."""

from dataclasses import dataclass
from typing import Self

import torch

from models.allocator import keep_freed_memory
from models.catalogue import DEFAULT_DETECTOR, DEFAULT_WEIGHTS
from models.detector import Detector
from models.errors import ModelError
from models.predictor import Classifier
from service.contract.failure import AnalysisError, FailureCode
from worker.cpus import usable_cpus


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
                Classifier.load(classifier, device=device).fuse(),
            )
        except ModelError as err:
            raise AnalysisError(FailureCode.MODEL_UNAVAILABLE, str(err)) from err


def default_device() -> str:
    """CUDA if this machine has it, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
