"""`python -m service.reconciler`: what has to be done again and again, by one process at a time.

A chore that fails is logged and tried at its next turn; it stops no other. Several reconcilers may
run, on several machines: a lock in Redis lets one work. The lock only saves work:
every chore is safe to run twice at once.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from service.batches import BatchFeeder
from service.dispatch import Dispatcher
from service.installation import Installation
from service.logs import configure_logs
from service.retention import Retention
from service.settings import ServiceSettings
from service.webhooks.sending import WebhookSender

ROUND_S: Final = 1.0
LOCK: Final = "smearscan:reconciler"
LOCK_TTL_S: Final = 15
"""Another reconciler takes over this long after one died, s."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Chore:
    """Something to do every so often, in a thread of its own: a slow one delays no other.

    Attributes:
        name: for the log.
        every_s: least time between two runs, s.
        run: does it.
    """

    name: str
    every_s: float
    run: Callable[[], object]
    _due: float = field(default=0.0, init=False)
    _running: Future[None] | None = field(default=None, init=False)

    def start_if_due(self, threads: ThreadPoolExecutor) -> None:
        """Have it run if its time has come and the last run is over."""
        if self._running is not None and not self._running.done():
            return
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self.every_s
            self._running = threads.submit(self.run_safely)

    def run_safely(self) -> None:
        """Run it; never raises."""
        try:
            self.run()
        except RedisError as err:
            _log.warning("chore waits for Redis", chore=self.name, error=str(err))
        except Exception as err:  # noqa: BLE001 - one chore must not stop the others
            _log.error("chore failed", chore=self.name, exc_info=err)


class Leadership:
    """Whether this process is the one that works."""

    def __init__(self, redis: Redis) -> None:
        self._lock: Lock = redis.lock(LOCK, timeout=LOCK_TTL_S, blocking=False, thread_local=False)

    def hold(self) -> bool:
        """Take the lock, or keep it.

        Raises:
            RedisError: the server does not answer.
        """
        if self._lock.owned():
            try:
                return bool(self._lock.reacquire())
            except LockError:
                return False
        return bool(self._lock.acquire())

    def give_up(self) -> None:
        """Let another take over at once."""
        try:
            if self._lock.owned():
                self._lock.release()
        except (LockError, RedisError):
            pass


def run(leadership: Leadership, chores: Sequence[Chore], stop: threading.Event) -> None:
    """Do the chores until told to stop."""
    with ThreadPoolExecutor(len(chores), thread_name_prefix="chore") as threads:
        while not stop.wait(ROUND_S):
            try:
                leads = leadership.hold()
            except RedisError as err:
                _log.warning("no queue server", error=str(err))
                continue
            if leads:
                for chore in chores:
                    chore.start_if_due(threads)
    leadership.give_up()


def plan_chores(installation: Installation) -> tuple[Chore, ...]:
    """What there is to do, most urgent first."""
    retention = Retention(installation)
    return (
        Chore("dispatch", 1, Dispatcher(installation).run_once),
        Chore("webhooks", 1, WebhookSender(installation).run_once),
        Chore("batches", 2, BatchFeeder(installation).run_once),
        Chore("retention", 600, retention.run_once),
    )


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = ServiceSettings()
    configure_logs("reconciler", settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    installation = Installation.open(settings)
    try:
        run(Leadership(installation.redis), plan_chores(installation), stop)
    finally:
        installation.close()


if __name__ == "__main__":
    main()
