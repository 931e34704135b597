"""The one thread that computes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError, WeightsCorrupt
from models.saliency import saliency_maps
from worker.model.networks import Networks
from worker.model.schedule import Batch, Closed, Schedule

FIELD_PX_CPU: Final = 1 << 20
FIELD_PX_ACCELERATOR: Final = 16 << 20
"""Pixels of the fields of one forward pass: on a CPU joining them saves nothing."""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What one batch was.

    Attributes:
        operation: "detect", "classify", "saliency" or "load".
        rows: patches or fields.
        requests: that had rows in it.
        seconds: the networks took.
    """

    operation: str
    rows: int
    requests: int
    seconds: float


class Engine:
    """Takes batches from a schedule until that is closed.

    An error of a model (`ModelError`) ends the requests of its batch. Any other error is of the
    device or of this program: no request can cause it, so it ends the thread, and `failure` tells
    the process to end too and be started anew.

    Args:
        networks: used by this thread alone.
        on_batch: told of every batch, from this thread.

    Attributes:
        schedule: where work is put.
        failure: the error that ended the thread.
        busy_since: `time.monotonic` when the batch began that is being computed; None when idle.
    """

    def __init__(
        self, networks: Networks, on_batch: Callable[[BatchRecord], None] = lambda record: None
    ) -> None:
        self.networks = networks
        self.schedule = Schedule()
        self.failure: Exception | None = None
        self.busy_since: float | None = None
        self._on_batch = on_batch
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to take batches."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still takes batches."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the batch at hand, fail what waits with `Closed`, and end the thread."""
        self.schedule.close()
        self._thread.join()

    def limit_fields(self, height: int, width: int) -> int:
        """Fields of that size, px, that fit in one batch."""
        on_cpu = self.networks.device.type == "cpu"
        return max(1, (FIELD_PX_CPU if on_cpu else FIELD_PX_ACCELERATOR) // (height * width))

    def _run(self) -> None:
        while (batch := self.schedule.take()) is not None:
            self._handle(batch)
            del batch  # or the last client's memory stays mapped until the next batch

    def _handle(self, batch: Batch) -> None:
        started = self.busy_since = time.monotonic()
        try:
            self._process(batch)
        except Exception as err:
            self.failure = err
            self._fail(batch, Closed())
            self.schedule.close()
            raise
        self.busy_since = None
        rows = sum(part.stop - part.start for _, part in batch.parts)
        seconds = time.monotonic() - started
        self._on_batch(BatchRecord(batch.key.operation, rows, len(batch.parts), seconds))

    def _process(self, batch: Batch) -> None:
        try:
            results = self._compute(batch)
        except ModelError as err:
            self._fail(batch, err)
        else:
            batch.scatter(results)

    def _fail(self, batch: Batch, error: Exception) -> None:
        for job, _ in batch.parts:
            self.schedule.withdraw(job)
            job.fail(error)

    def _compute(self, batch: Batch) -> NDArray[np.float32]:
        key = batch.key
        if key.operation == "detect":
            fields = cast(NDArray[np.float32], batch.gather())
            return self.networks.detector.map_cells(fields, key.rim_px)
        classifier = self.networks.demand(key.classifier)
        if key.operation == "load":
            return np.empty((1, 0), np.float32)
        for job, _ in batch.parts:
            if job.sha256 != classifier.card.sha256:
                raise WeightsCorrupt(
                    f"weights {key.classifier!r} were replaced while they were in use: scan again"
                )
        patches = cast(NDArray[np.uint8], batch.gather())
        if key.operation == "classify":
            return classifier.predict(patches)
        targets = None if key.target is None else [key.target] * len(patches)
        return saliency_maps(classifier, patches, targets, samples=key.samples, seed=key.seed)
