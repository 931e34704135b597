"""Networks in another process, as the pipeline sees them. Loads no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.card import ClassifierCard, check_patches
from models.detector_card import DetectorCard, check_fields
from models.peak import Peak
from models.saliency_overlay import paint_saliency
from models.taxonomy import CODES, CellClass
from worker.model.connection import Busy, Connection, Refused
from worker.model.link import PATIENCE_S, Link
from worker.model.wire import (
    MAX_FIELD_PX,
    MAX_FIELDS,
    MAX_SHARED_BYTES,
    AskStats,
    Classify,
    ConnectionLost,
    Detect,
    Explain,
    InvalidMessage,
    Ping,
    Pong,
    Stats,
)


@dataclass(frozen=True, slots=True)
class RemoteDetector:
    """As `models.detector.Detector`, in another process."""

    link: Link

    @property
    def card(self) -> DetectorCard:
        """What the network expects."""
        return self.link.cards.detector

    def detect(
        self,
        fields: NDArray[np.uint8],
        background: NDArray[np.floating],
        red_cell: NDArray[np.floating],
        *,
        rim_px: int = 0,
    ) -> list[list[Peak]]:
        """As `models.detector.Detector.detect`.

        Raises:
            PatchShapeError: as there; or a single field is larger than `MAX_FIELD_PX`.
            AnalysisError: model_unavailable.
        """
        check_fields(fields, background, red_cell)
        if 0 in fields.shape:
            return [[] for _ in fields]
        _, height, width, _ = fields.shape
        step = min(MAX_FIELDS, max(1, MAX_FIELD_PX // (height * width)))
        found: list[list[Peak]] = []
        for start in range(0, len(fields), step):
            part = fields[start : start + step]
            request = Detect(
                count=len(part),
                height=height,
                width=width,
                background=(float(background[0]), float(background[1]), float(background[2])),
                red_cell=(float(red_cell[0]), float(red_cell[1]), float(red_cell[2])),
                rim_px=rim_px,
            )
            result, body = self.link.request(request, part)
            rows = iter(np.frombuffer(body, "<f8").reshape(-1, 4).tolist())
            found += [[Peak(*next(rows)) for _ in range(count)] for count in result.peaks]
        return found


@dataclass(frozen=True, slots=True)
class RemoteClassifier:
    """As `models.predictor.Classifier`, in another process."""

    link: Link

    @property
    def card(self) -> ClassifierCard:
        """What the network expects and what its outputs mean."""
        return self.link.cards.classifier

    def predict(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `models.predictor.Classifier.predict`.

        Raises:
            PatchShapeError: patches do not match the card.
            AnalysisError: model_unavailable.
        """
        check_patches(patches, self.card)
        out = np.empty((len(patches), len(CODES)), np.float32)
        step = MAX_SHARED_BYTES // (3 * self.card.patch_px**2)
        for start in range(0, len(patches), step):
            part = patches[start : start + step]
            _, body = self.link.request(Classify(count=len(part)), part)
            out[start : start + step] = np.frombuffer(body, "<f4").reshape(-1, len(CODES))
        return out


class RemotePredictor:
    """Both networks in this machine's model process. Used by one thread.

    Args:
        address: of the process's Unix socket, `DataRoot.model_socket`.
        classifier: name of weights; None takes what is served by default.
        patience_s: how long to wait for a process that is gone or silent, s. A process that is
            busy with other slides says so and is waited for.
        check: called at least every half second of a wait; what it raises ends it. That is how a
            scan is cancelled.

    Raises:
        AnalysisError: model_unavailable: there is no such classifier, or nobody answers.
    """

    def __init__(
        self,
        address: Path,
        classifier: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._link = Link(address, classifier, patience_s, check)
        self.detector = RemoteDetector(self._link)
        self.classifier = RemoteClassifier(self._link)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def fetch_saliency(
    address: Path,
    patch: NDArray[np.uint8],
    *,
    classifier: str | None = None,
    target: CellClass | None = None,
    samples: int = 0,
    seed: int = 0,
    patience_s: float = PATIENCE_S,
) -> NDArray[np.float32]:
    """Which pixels of a patch a classifier's loss hangs on.

    Args:
        address: of the model process's Unix socket.
        patch: RGB, shape (400, 400, 3), 0–255.
        classifier: name of weights; None takes what is served by default.
        target: class whose loss it is; None takes the class the network names.
        samples: 0 is the plain gradient; above, at most 16, SmoothGrad over so many copies.
        seed: of the copies' noise.
        patience_s: as for `RemotePredictor`.

    Returns:
        Shape (400, 400), at least 0, as `models.saliency.saliency_maps`.

    Raises:
        AnalysisError: model_unavailable.
        PatchShapeError: the patch does not match the card, or the classifier cannot
            name the target.
    """
    with RemotePredictor(address, classifier, patience_s=patience_s) as predictor:
        side = predictor.classifier.card.patch_px
        check_patches(patch[None], predictor.classifier.card)
        _, body = predictor.classifier.link.request(
            Explain(target=target, samples=samples, seed=seed), patch[None]
        )
    return np.frombuffer(body, "<f4").reshape(side, side)


def encode_saliency(patch: NDArray[np.uint8], saliency: NDArray[np.float32]) -> bytes:
    """A patch in grey with its map in colour over it, as a PNG."""
    stream = BytesIO()
    Image.fromarray(paint_saliency(patch, saliency)).save(stream, "PNG")
    return stream.getvalue()


def ping(address: Path, *, timeout_s: float = 2.0) -> bool:
    """Whether a model process answers at an address."""
    try:
        with Connection(address, silence_s=timeout_s) as connection:
            reply, _ = connection.exchange(Ping())
    except (ConnectionLost, InvalidMessage, Busy, Refused):
        return False
    return isinstance(reply, Pong)


def fetch_stats(address: Path, *, timeout_s: float = 2.0) -> Stats | None:
    """What a model process has done; None if none answers at the address."""
    try:
        with Connection(address, silence_s=timeout_s) as connection:
            reply, _ = connection.exchange(AskStats())
    except (ConnectionLost, InvalidMessage, Busy, Refused):
        return None
    assert isinstance(reply, Stats), reply
    return reply
