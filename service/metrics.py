"""What Prometheus is told: read off database, queue and disk when asked, and counted by the api.

docs/operations.md lists all of it.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from service.contract.health import ModelState
from service.contract.scan import ScanState
from service.health import count_workers, model_states
from service.installation import Installation
from service.store.columns import now
from service.store.tables import BatchRow, DeliveryRow, ScanRow

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus_client: where processes put what they count together."""


def write_metrics(installation: Installation) -> bytes:
    """All metrics, Prometheus's text format; requests are those of all api processes here."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InstallationCollector(installation))
    counted = REGISTRY
    if SHARED in os.environ:
        counted = CollectorRegistry(auto_describe=False)
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    return generate_latest(counted) + generate_latest(registry)


class InstallationCollector(Collector):
    """The state of an installation, whichever process is asked."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def collect(self) -> Iterator[Metric]:
        """All of them; a part that does not answer is left out and counted as down."""
        up = GaugeMetricFamily("smearscan_up", "1 if the part answers.", labels=["part"])
        for part, read in (
            ("store", self._read_store),
            ("queue", self._read_queue),
            ("disk", self._read_disk),
        ):
            try:
                yield from read()
                up.add_metric([part], 1)
            except (SQLAlchemyError, RedisError, OSError):
                up.add_metric([part], 0)
        yield up

    def _read_store(self) -> list[Metric]:
        with self._installation.engine.connect() as connection:
            by_state = connection.execute(
                select(ScanRow.state, ScanRow.queue, func.count()).group_by(
                    ScanRow.state, ScanRow.queue
                )
            ).all()
            by_stage = connection.execute(
                select(ScanRow.stage, func.count())
                .where(ScanRow.stage.is_not(None))
                .group_by(ScanRow.stage)
            ).all()
            by_code = connection.execute(
                select(ScanRow.failure_code, func.count())
                .where(ScanRow.failure_code.is_not(None), ScanRow.finished_at.is_not(None))
                .group_by(ScanRow.failure_code)
            ).all()
            oldest = connection.execute(
                select(ScanRow.queue, func.min(ScanRow.submitted_at))
                .where(ScanRow.state == ScanState.QUEUED)
                .group_by(ScanRow.queue)
            ).all()
            batches = connection.execute(
                select(BatchRow.state, func.count()).group_by(BatchRow.state)
            ).all()
            deliveries = connection.execute(
                select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)
            ).all()
        moment = now()
        waiting = [(queue, (moment - since).total_seconds()) for queue, since in oldest]
        return [
            _gauge("smearscan_scans", "Scans kept.", ("state", "queue"), by_state),
            _gauge("smearscan_running_scans", "Scans that run.", ("stage",), by_stage),
            _gauge("smearscan_failed_scans", "Failed scans kept.", ("code",), by_code),
            _gauge(
                "smearscan_longest_wait_seconds",
                "Since the submission of the scan that has waited longest.",
                ("queue",),
                waiting,
            ),
            _gauge("smearscan_batches", "Batches kept.", ("state",), batches),
            _gauge("smearscan_webhooks", "Webhooks kept.", ("state",), deliveries),
        ]

    def _read_queue(self) -> list[Metric]:
        installation = self._installation
        depth = [(str(queue), n) for queue, n in installation.jobs.depth().items()]
        workers = [(count_workers(installation),)]
        return [
            _gauge("smearscan_queue_depth", "Jobs that wait.", ("queue",), depth),
            _gauge("smearscan_workers", "Workers that live.", (), workers),
            *_of_models(model_states(installation)),
        ]

    def _read_disk(self) -> list[Metric]:
        state = os.statvfs(self._installation.layout.path)
        rows = [
            ("free", state.f_bavail * state.f_frsize),
            ("size", state.f_blocks * state.f_frsize),
        ]
        return [_gauge("smearscan_disk_bytes", "Of the data directory's disk.", ("kind",), rows)]


def _of_models(states: Sequence[ModelState]) -> Iterator[Metric]:
    """What the model processes have done since they started."""
    own, by_operation = ("process",), ("process", "operation")
    cells = CounterMetricFamily("smearscan_cells", "Cells classified.", labels=own)
    sizes = HistogramMetricFamily(
        "smearscan_model_batch_rows", "Patches or fields of a batch.", labels=by_operation
    )
    joined = CounterMetricFamily(
        "smearscan_model_joined_batches", "Batches of several scans.", labels=by_operation
    )
    busy = CounterMetricFamily(
        "smearscan_model_busy_seconds", "Time the networks computed.", labels=by_operation
    )
    refused = CounterMetricFamily(
        "smearscan_model_refused_connections", "Turned away: too many.", labels=own
    )
    for state in states:
        classified = state.operations.get("classify")
        cells.add_metric([state.process], classified.rows if classified else 0)
        refused.add_metric([state.process], state.refused)
        for operation, done in state.operations.items():
            labels = [state.process, operation]
            sizes.add_metric(labels, _cumulative(done.batch_rows), done.rows)
            joined.add_metric(labels, done.joined)
            busy.add_metric(labels, done.busy_s)
    uptimes = [(state.process, state.uptime_s) for state in states]
    connections = [(state.process, state.connections) for state in states]
    yield from (cells, sizes, joined, busy, refused)
    yield _gauge("smearscan_model_uptime_seconds", "Since its start.", own, uptimes)
    yield _gauge("smearscan_model_connections", "Open now.", own, connections)


def _cumulative(batches: dict[int, int]) -> list[tuple[str, float]]:
    """A histogram's buckets as Prometheus wants them, from batches by largest number of rows."""
    buckets, below = [], 0
    for limit, number in sorted(batches.items()):
        below += number
        buckets.append((str(float(limit)), float(below)))
    return [*buckets, ("+Inf", float(below))]


def _gauge(name: str, text: str, labels: Sequence[str], rows: Any) -> GaugeMetricFamily:
    """A family from rows of labels and a number."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, number in rows:
        family.add_metric([str(value) for value in values], float(number))
    return family
