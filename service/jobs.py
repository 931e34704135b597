"""The queue: which scans are handed to which workers. Holds nothing that SQL does not know.

A job's name is `<scan_id>-<attempt>` and its arguments are JSON: who can write to Redis must not
run code. A job that is queued twice, or one of an attempt that was given up, does nothing: its
worker cannot claim the scan.
"""

from collections.abc import Iterable
from typing import Any, Final

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import Row

from service.contract.scan import Priority
from service.layout import DataRoot
from service.settings import GIB, ServiceSettings

TASK: Final = "worker.tasks.scan"
"""The worker's function, as text: nothing of the worker is imported here."""
QUEUES: Final = (Priority.INTERACTIVE, Priority.ARCHIVE)
"""In the order workers look at them."""
JOB_KEPT_S: Final = 3600
"""How long Redis remembers a job that is over; SQL remembers the scan."""


def redis_url(settings: ServiceSettings) -> str:
    """The configured server, or the embedded one's socket."""
    return settings.redis_url or f"unix://{DataRoot.of(settings).redis_socket}"


def connect_redis(settings: ServiceSettings, *, patience: int = 3) -> Redis:
    """A client that tries again while the server restarts.

    Args:
        settings: where it is.
        patience: tries after the first, up to 1 s apart.
    """
    return Redis.from_url(
        redis_url(settings),
        socket_connect_timeout=5,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), patience),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )


def job_id(scan_id: str, attempt: int) -> str:
    """Name of the job that runs an attempt of a scan."""
    return f"{scan_id}-{attempt}"


class Jobs:
    """The two queues of an installation."""

    def __init__(self, redis: Redis, settings: ServiceSettings) -> None:
        self._settings = settings
        self.redis = redis
        self.queues = {
            priority: Queue(str(priority), connection=redis, serializer=JSONSerializer)
            for priority in QUEUES
        }

    def enqueue(self, scan: Row[Any]) -> bool:
        """Hand a queued scan to the workers; False if Redis cannot be reached.

        Not being able to is no failure of the scan: the reconciler tries again.
        """
        try:
            self.queues[Priority(scan.queue)].enqueue(
                TASK,
                args=[scan.id, scan.attempt],
                job_id=job_id(scan.id, scan.attempt),
                job_timeout=self.timeout_s(scan.slide_bytes),
                result_ttl=0,
                failure_ttl=JOB_KEPT_S,
            )
        except RedisError:
            return False
        return True

    def waiting(self) -> set[str]:
        """Names of all jobs that wait.

        Raises:
            RedisError: the server cannot be reached.
        """
        return {name for queue in self.queues.values() for name in queue.get_job_ids()}

    def depth(self) -> dict[Priority, int]:
        """Jobs that wait, per queue.

        Raises:
            RedisError: the server cannot be reached.
        """
        return {priority: queue.count for priority, queue in self.queues.items()}

    def forget(self, names: Iterable[str]) -> None:
        """Take jobs out of the queues, e.g. of cancelled scans.

        Raises:
            RedisError: the server cannot be reached.
        """
        for name in names:
            for queue in self.queues.values():
                queue.remove(name)

    def timeout_s(self, slide_bytes: int) -> int:
        """Time a scan of a slide of this size may take, s."""
        settings = self._settings
        return int(settings.timeout_base_s + settings.timeout_per_gib_s * slide_bytes / GIB)
