"""The parts of one installation, built once from its settings at the root of each process."""

from dataclasses import dataclass
from typing import Self

from redis import Redis
from sqlalchemy import Engine

from service.jobs import Jobs, connect_redis
from service.layout import DataRoot
from service.settings import ServiceSettings
from service.store.audit import Audit
from service.store.batch_items import BatchItems
from service.store.batches import Batches
from service.store.engine import connect, database_url
from service.store.keys import Keys
from service.store.lifecycle import Lifecycle, Retries
from service.store.models import ServedModels
from service.store.reviews import Reviews
from service.store.scans import Scans


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything durable, and the queue. Safe to share between threads, not across a fork."""

    settings: ServiceSettings
    layout: DataRoot
    engine: Engine
    redis: Redis
    scans: Scans
    lifecycle: Lifecycle
    jobs: Jobs
    keys: Keys
    audit: Audit
    models: ServedModels
    reviews: Reviews
    batches: Batches
    batch_items: BatchItems

    @classmethod
    def open(cls, settings: ServiceSettings, *, redis_patience: int = 3) -> Self:
        """Connect lazily: neither server needs to be up yet.

        Args:
            settings: of the installation.
            redis_patience: as in `connect_redis`.
        """
        engine = connect(database_url(settings))
        redis = connect_redis(settings, patience=redis_patience)
        retries = Retries(settings.max_attempts, settings.retry_backoff_s)
        scans = Scans(engine)
        batch_items = BatchItems(engine, scans)
        return cls(
            settings=settings,
            layout=DataRoot.of(settings),
            engine=engine,
            redis=redis,
            scans=scans,
            lifecycle=Lifecycle(engine, retries),
            jobs=Jobs(redis, settings),
            keys=Keys(engine),
            audit=Audit(engine),
            models=ServedModels(engine),
            reviews=Reviews(engine),
            batches=Batches(engine, batch_items),
            batch_items=batch_items,
        )

    @property
    def is_local(self) -> bool:
        """Whether reading a row takes no network: SQLite, whose readers wait for nobody."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Let go of both servers."""
        self.redis.close()
        self.engine.dispose()
