"""How fast a batch goes, judged by what happened lately."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 900.0
"""The rate is that of this long, s: nights and days differ."""


@dataclass(slots=True)
class Pace:
    """Slides a while ago and slides now."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, moment_s: float, done: int) -> None:
        """Take down how many slides were over at a moment, s on any clock that never goes back."""
        self._seen.append((moment_s, done))
        while len(self._seen) > 2 and self._seen[1][0] <= moment_s - WINDOW_S:
            self._seen.popleft()

    @property
    def per_hour(self) -> float | None:
        """Slides an hour; None while nothing is known."""
        if len(self._seen) < 2:
            return None
        (begun_s, before), (now_s, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now_s - begun_s) * 3600 if now_s > begun_s else None

    def left_s(self, total: int) -> float | None:
        """Time until as many are over, s; None while nothing moves."""
        rate = self.per_hour
        return (total - self._seen[-1][1]) / rate * 3600 if rate else None
