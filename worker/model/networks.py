"""The networks of this machine: a detector, the default classifier and a few others on demand."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Final, Self

import torch

from models.allocator import keep_freed_memory
from models.card import ClassifierCard
from models.catalogue import CARD_FILE, DEFAULT_DETECTOR, DEFAULT_WEIGHTS, WEIGHTS_ROOT
from models.detector import Detector
from models.detector_card import DetectorCard
from models.errors import WeightsUnavailable
from models.predictor import Classifier
from worker.cpus import usable_cpus
from worker.inference import default_device

KEPT: Final = 3
"""Classifiers in memory besides the default one; the one used longest ago makes room."""


class Networks:
    """Loaded networks. One thread loads and computes; any thread may ask for cards.

    Args:
        detector: loaded.
        default: classifier that is used where none is named, and stays.
        root: where classifiers are found by name.
        kept: how many others stay in memory.
    """

    def __init__(
        self,
        detector: Detector,
        default: Classifier,
        *,
        root: Path = WEIGHTS_ROOT,
        kept: int = KEPT,
    ) -> None:
        self.detector = detector
        self.default = default
        self._root = root
        self._kept = kept
        self._others: OrderedDict[str, Classifier] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def load(cls, *, classifier: str = DEFAULT_WEIGHTS, device: str | None = None) -> Self:
        """Load what is served by default; sets this process's allocator and torch's threads.

        Args:
            classifier: name of weights, a directory with weights, or "default".
            device: "cpu", "cuda", …; None takes CUDA where there is one.

        Raises:
            ModelError: which weights are missing or damaged.
        """
        keep_freed_memory()
        torch.set_num_threads(usable_cpus())
        device = device or default_device()
        return cls(
            Detector.load(DEFAULT_DETECTOR, device=device),
            Classifier.load(classifier, device=device).fuse(),
        )

    @property
    def device(self) -> torch.device:
        """Of all networks."""
        return self.default.device

    @property
    def cards(self) -> tuple[DetectorCard, ClassifierCard]:
        """Of the detector and the default classifier."""
        return self.detector.card, self.default.card

    @property
    def names(self) -> tuple[str, ...]:
        """Classifiers in memory; the default one, then those used last at the end."""
        with self._lock:
            return (self.default.card.name, *self._others)

    def find(self, name: str) -> Classifier | None:
        """The classifier of that name if it is in memory; "" is the default one."""
        if name in ("", self.default.card.name):
            return self.default
        with self._lock:
            found = self._others.get(name)
            if found is not None:
                self._others.move_to_end(name)
            return found

    def demand(self, name: str) -> Classifier:
        """The classifier of that name, loaded if need be.

        Raises:
            WeightsUnavailable: there is no such classifier.
            WeightsCorrupt: its card or weights are damaged.
        """
        if (found := self.find(name)) is not None:
            return found
        if not (self._root / name / CARD_FILE).is_file():
            known = sorted(path.parent.name for path in self._root.glob(f"*/{CARD_FILE}"))
            raise WeightsUnavailable(
                f"no classifier called {name!r} is installed; weights here: {', '.join(known)}"
            )
        loaded = Classifier.load(name, root=self._root, device=self.device).fuse()
        with self._lock:
            self._others[name] = loaded
            while len(self._others) > max(1, self._kept):
                self._others.popitem(last=False)
        return loaded
