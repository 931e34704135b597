"""How much the model process has done, for whoever watches it."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from service.contract.health import OperationState
from worker.model.engine import BatchRecord


@dataclass(slots=True)
class _Tally:
    batches: int = 0
    rows: int = 0
    joined: int = 0
    busy_s: float = 0.0
    batch_rows: Counter[int] = field(default_factory=Counter)


class Counters:
    """Adds up batches by operation; any thread may add and read."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._lock = Lock()

    def add(self, record: BatchRecord) -> None:
        """Count one batch."""
        with self._lock:
            tally = self._tallies.setdefault(record.operation, _Tally())
            tally.batches += 1
            tally.rows += record.rows
            tally.joined += record.requests > 1
            tally.busy_s += record.seconds
            tally.batch_rows[1 << (record.rows - 1).bit_length()] += 1

    def read(self) -> dict[str, OperationState]:
        """All so far."""
        with self._lock:
            return {
                operation: OperationState(
                    batches=tally.batches,
                    rows=tally.rows,
                    joined=tally.joined,
                    busy_s=round(tally.busy_s, 6),
                    batch_rows=dict(sorted(tally.batch_rows.items())),
                )
                for operation, tally in self._tallies.items()
            }
