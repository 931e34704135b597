"""Whether an installation can take and analyse slides: what is asked, what is measured."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from rq.worker_registration import get_keys
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from service.installation import Installation
from service.store.engine import is_reachable
from service.store.tables import BatchRow, DeliveryRow, ScanRow

MODEL_KEYS: Final = "smearscan:model:"
"""Begins the Redis keys under which model processes tell every few seconds how they are."""
MODEL_TTL_S: Final = 30


@dataclass(frozen=True, slots=True)
class Check:
    """One part of an installation."""

    name: str
    ok: bool
    detail: str


def model_states(installation: Installation) -> list[dict[str, Any]]:
    """What each living model process said last.

    Raises:
        RedisError: the queue server does not answer.
    """
    redis = installation.redis
    names = list(redis.scan_iter(match=f"{MODEL_KEYS}*", count=1000))
    states = redis.mget(names) if names else []
    return [json.loads(state) for state in states if state is not None]


def count_workers(installation: Installation) -> int:
    """Workers that gave a sign of life lately; RQ's own count has those that were killed too.

    Raises:
        RedisError: the queue server does not answer.
    """
    names = get_keys(connection=installation.redis)
    return int(installation.redis.exists(*names)) if names else 0


def examine(installation: Installation) -> Sequence[Check]:
    """Everything a scan needs, each part by itself."""
    checks = [
        Check("store", is_reachable(installation.engine), "the database answers queries"),
    ]
    try:
        installation.redis.ping()
        workers = count_workers(installation)
        models = len(model_states(installation))
    except RedisError:
        gone = "the queue server does not answer"
        return [*checks, *(Check(name, False, gone) for name in ("queue", "worker", "model"))]
    return [
        *checks,
        Check("queue", True, "the queue server answers"),
        Check("worker", workers > 0, f"{workers} workers"),
        Check("model", models > 0, f"{models} model processes"),
    ]


class InstallationCollector(Collector):
    """Prometheus metrics that are read off the database, the queue and the disk when asked for."""

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
            batches = connection.execute(
                select(BatchRow.state, func.count()).group_by(BatchRow.state)
            ).all()
            deliveries = connection.execute(
                select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)
            ).all()
        return [
            _gauge("smearscan_scans", "Scans kept.", ("state", "queue"), by_state),
            _gauge("smearscan_running_scans", "Scans that run.", ("stage",), by_stage),
            _gauge("smearscan_failed_scans", "Failed scans kept.", ("code",), by_code),
            _gauge("smearscan_batches", "Batches kept.", ("state",), batches),
            _gauge("smearscan_webhooks", "Webhooks kept.", ("state",), deliveries),
        ]

    def _read_queue(self) -> list[Metric]:
        installation = self._installation
        depth = [(str(queue), n) for queue, n in installation.jobs.depth().items()]
        workers = [(count_workers(installation),)]
        metrics: list[Metric] = [
            _gauge("smearscan_queue_depth", "Jobs that wait.", ("queue",), depth),
            _gauge("smearscan_workers", "Workers that live.", (), workers),
        ]
        states = model_states(installation)
        for name in sorted({key for state in states for key in state["stats"]}):
            rows = [(state["process"], state["stats"].get(name, 0)) for state in states]
            metrics.append(
                _gauge(f"smearscan_model_{name}", "Of a model process.", ("process",), rows)
            )
        return metrics

    def _read_disk(self) -> list[Metric]:
        state = os.statvfs(self._installation.layout.path)
        rows = [
            ("free", state.f_bavail * state.f_frsize),
            ("size", state.f_blocks * state.f_frsize),
        ]
        return [_gauge("smearscan_disk_bytes", "Of the data directory's disk.", ("kind",), rows)]


def _gauge(name: str, text: str, labels: Sequence[str], rows: Any) -> GaugeMetricFamily:
    """A family from rows of labels and a number."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, number in rows:
        family.add_metric([str(value) for value in values], float(number))
    return family
