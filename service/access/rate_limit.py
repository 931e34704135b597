"""How many requests a minute a key may make: a token bucket per key, in this process."""

import math
import time
from collections import OrderedDict
from threading import Lock
from typing import Final

BURST_S: Final = 10.0
"""A key that was quiet may catch up on this much of its rate at once, s."""
REMEMBERED: Final = 10_000
"""Keys whose buckets are remembered; one that is forgotten begins with a full bucket."""


class RateLimit:
    """Token buckets.

    Args:
        per_minute: of a key without its own limit.
        share: of each limit that this process grants; the rest is other processes'.
    """

    def __init__(self, per_minute: int, *, share: float = 1.0) -> None:
        self._per_minute = per_minute
        self._share = share
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, key_id: str, per_minute: int | None = None) -> int:
        """Count a request.

        Args:
            key_id: whose.
            per_minute: the key's own limit, or None.

        Returns:
            0 if it may pass; else after how many s the next one may.
        """
        rate = (per_minute or self._per_minute) * self._share / 60
        size = max(1.0, rate * BURST_S)
        moment = time.monotonic()
        with self._lock:
            tokens, seen = self._buckets.get(key_id, (size, moment))
            tokens = min(size, tokens + (moment - seen) * rate)
            passes = tokens >= 1
            self._buckets[key_id] = (tokens - 1 if passes else tokens, moment)
            self._buckets.move_to_end(key_id)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return 0 if passes else max(1, math.ceil((1 - tokens) / rate))
