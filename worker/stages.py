"""Where an analysis stands, and how long each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.contract.scan import Stage

OnProgress = Callable[[Stage, int, int], None]
"""Told (stage, units done, units in all), from the thread that works. What it raises ends the
analysis: that is how a scan is cancelled."""


def ignore_progress(stage: Stage, done: int, total: int) -> None:
    """Tell nobody."""


class StageClock:
    """Times stages and passes their progress on.

    Attributes:
        seconds: wall time per finished stage.
    """

    def __init__(self, on_progress: OnProgress = ignore_progress) -> None:
        self.seconds: dict[Stage, float] = {}
        self._on_progress = on_progress

    @contextmanager
    def time(self, stage: Stage) -> Iterator[Callable[[int, int], None]]:
        """Time a stage; yields its `on_progress(done, total)`."""
        self._on_progress(stage, 0, 0)
        start = time.perf_counter()
        yield lambda done, total: self._on_progress(stage, done, total)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
