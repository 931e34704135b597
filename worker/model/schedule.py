"""Whose rows are computed next: requests of several slides joined into batches, none starved.

A row is a patch or a field. Rows that the same network takes in one forward pass have one `Key`.
Keys take turns, and within a key requests do: each batch begins with the request that waited
longest for its turn, gives it as many rows as fit, fills what is left from the next ones, and
sends unfinished requests back to the end. So a request of 1000 rows delays one of 8 by one batch.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from threading import Condition, Event

import numpy as np
from numpy.typing import NDArray

from models.taxonomy import CellClass


@dataclass(frozen=True, slots=True)
class Key:
    """Rows with equal keys may share a batch.

    Attributes:
        operation: "detect", "classify", "saliency" or "load".
        classifier: name of its weights; "" for the detector.
        shape: of a row.
        limit: most rows of a batch.
        rim_px: of fields, as for `Detector.detect`.
        target, samples, seed: of a saliency map.
    """

    operation: str
    classifier: str = ""
    shape: tuple[int, ...] = ()
    limit: int = 1
    rim_px: int = 0
    target: CellClass | None = None
    samples: int = 0
    seed: int = 0


@dataclass(slots=True, eq=False)
class Job:
    """One request's work.

    Attributes:
        key: what it may be batched with.
        rows: input, shape (N, ...), N at least 1.
        sha256: of the classifier's weights as promised to the client; "" if any will do.
        results: a piece for each batch that held rows of this job, in order.
        error: why it ended without results.
        finished: set when `results` or `error` are complete.
    """

    key: Key
    rows: NDArray[np.generic]
    sha256: str = ""
    results: list[NDArray[np.float32]] = field(default_factory=list)
    error: Exception | None = None
    finished: Event = field(default_factory=Event)
    taken: int = 0
    filled: int = 0

    def fill(self, piece: NDArray[np.float32]) -> None:
        """Take the results of the rows that were computed last."""
        self.results.append(piece)
        self.filled += len(piece)
        if self.filled == len(self.rows):
            self.finished.set()

    def fail(self, error: Exception) -> None:
        """End without results."""
        self.error = error
        self.finished.set()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to compute in one go: of each job a slice, in this order."""

    key: Key
    parts: tuple[tuple[Job, slice], ...]

    def gather(self) -> NDArray[np.generic]:
        """All rows; copied only where they are of several jobs."""
        pieces = [job.rows[part] for job, part in self.parts]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def scatter(self, results: NDArray[np.float32]) -> None:
        """Give every job the results of its rows."""
        start = 0
        for job, part in self.parts:
            count = part.stop - part.start
            job.fill(results[start : start + count])
            start += count


class Closed(Exception):
    """No more work is taken: the process is about to end."""


class Schedule:
    """Jobs that wait, for one thread that takes and many that put."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: OrderedDict[Key, deque[Job]] = OrderedDict()
        self._closed = False

    def put(self, job: Job) -> None:
        """Queue a job; a closed schedule fails it at once with `Closed`."""
        with self._changed:
            if self._closed:
                job.fail(Closed())
                return
            self._waiting.setdefault(job.key, deque()).append(job)
            self._changed.notify()

    def take(self) -> Batch | None:
        """The next batch; waits for one. None when closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            key, jobs = self._waiting.popitem(last=False)
            parts = []
            room = key.limit
            for _ in range(len(jobs)):
                job = jobs.popleft()
                count = min(room, len(job.rows) - job.taken)
                parts.append((job, slice(job.taken, job.taken + count)))
                job.taken += count
                room -= count
                if job.taken < len(job.rows):
                    jobs.append(job)
                if not room:
                    break
            if jobs:
                self._waiting[key] = jobs
            return Batch(key, tuple(parts))

    def withdraw(self, job: Job) -> None:
        """Forget a job whose client is gone; rows being computed are finished."""
        with self._changed:
            jobs = self._waiting.get(job.key)
            if jobs and job in jobs:
                jobs.remove(job)
                if not jobs:
                    del self._waiting[job.key]

    def close(self) -> None:
        """Take no more, and fail what waits with `Closed`."""
        with self._changed:
            self._closed = True
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            job.fail(Closed())
