"""RQ's worker with three additions: SQL sees its heartbeat, deaths are named, a stop re-queues.

RQ forks one process per scan, watches it, and tells how it died. What RQ notes in Redis is for
operators; the truth is written to SQL, fenced by the attempt.
"""

import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from rq import Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from service.contract.failure import AnalysisError, Failure, FailureCode
from service.contract.scan import ScanState
from service.installation import Installation
from service.leash import die_with
from service.logs import configure_logs
from service.settings import ServiceSettings
from service.store.columns import now
from worker.tasks import timed_out

BEAT_S: Final = 1
"""How often the worker looks after the process it forked, s."""
HUNG_AFTER_S: Final = 5
"""A process that did not end by itself at its timeout is killed this much later, s. Python's alarm
cannot interrupt a decoder that does not return."""

_log = structlog.get_logger(__name__)


class ScanWorker(Worker):
    """Works off the queues of an installation, one slide at a time."""

    def __init__(self, installation: Installation, name: str) -> None:
        super().__init__(
            list(installation.jobs.queues.values()),
            name=name,
            connection=installation.redis,
            serializer=JSONSerializer,
            job_monitoring_interval=BEAT_S,
        )
        self._installation = installation
        self._cause: Failure | None = None
        self._releasing = False
        self._oom_kills = 0
        self._pid = os.getpid()

    def fork_work_horse(self, job: Job, queue: Any) -> None:
        """Fork the slide process; what will explain its death starts anew."""
        self._pid = os.getpid()
        self._cause, self._oom_kills = None, count_oom_kills()
        super().fork_work_horse(job, queue)

    def main_work_horse(self, job: Job, queue: Any) -> None:
        """The slide process: ends with its worker, and uses none of the worker's connections."""
        die_with(self._pid)
        self._installation.engine.dispose(close=False)
        super().main_work_horse(job, queue)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Each second: SQL learns that the scan lives, and whether it should is asked there.

        A database or queue server that does not answer for a while costs no work.
        """
        try:
            if not self._is_wanted(*parse_job_id(job.id)):
                _log.info("killing the slide process: its attempt no longer counts", job=job.id)
                self.kill_horse()
            self._kill_if_hung(job)
            super().maintain_heartbeats(job, execution)
        except (RedisError, SQLAlchemyError) as err:
            _log.warning("a server does not answer; the scan goes on", error=type(err).__name__)

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Write to SQL how the slide process died. A no-op if it had ended its attempt."""
        scan_id, attempt = parse_job_id(job.id)
        lifecycle = self._installation.lifecycle
        if self._releasing:
            lifecycle.release(scan_id, attempt)
            _log.info("shutting down: the scan goes back to the queue", scan_id=scan_id)
            return
        oom = count_oom_kills() > self._oom_kills
        failure = self._cause or explain_death(ret_val or 0, out_of_memory=oom)
        state = lifecycle.fail(scan_id, attempt, failure)
        _log.error("slide process died", scan_id=scan_id, message=failure.message, now=state)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: give the running scan back to the queue and end."""
        self._releasing = True
        try:
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]
        finally:
            if self.horse_pid:
                self.kill_horse()

    def _is_wanted(self, scan_id: str, attempt: int) -> bool:
        """Note a sign of life. A process that has just ended its attempt may end by itself."""
        if self._installation.lifecycle.touch(scan_id, attempt):
            return True
        row = self._installation.scans.find_row(scan_id)
        return row is not None and row.attempt == attempt and row.state != ScanState.CANCELLED

    def _kill_if_hung(self, job: Job) -> None:
        if job.started_at is None or not job.timeout:
            return
        running_s = (now() - job.started_at).total_seconds()
        if running_s > job.timeout + HUNG_AFTER_S:
            self._cause = timed_out(int(job.timeout))
            self.kill_horse()


def main() -> int:
    """`python -m worker rq`: work until SIGTERM or SIGINT; returns the exit code."""
    settings = ServiceSettings()
    configure_logs("worker", settings.log_level)
    installation = Installation.open(settings)
    name = f"{socket.gethostname()}-{os.getpid()}"
    worker = ScanWorker(installation, name)
    worker.work(logging_level=None, with_scheduler=False)
    return 0


def parse_job_id(name: str) -> tuple[str, int]:
    """Scan and attempt of a job."""
    scan_id, attempt = name.rsplit("-", 1)
    return scan_id, int(attempt)


def explain_death(wait_status: int, *, out_of_memory: bool) -> Failure:
    """What a process's wait status says to somebody who was not there.

    Args:
        wait_status: as `os.wait` gives it.
        out_of_memory: the kernel killed a process for memory meanwhile.
    """
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        name = signal.Signals(number).name
        if number == signal.SIGKILL and out_of_memory:
            return AnalysisError(
                FailureCode.OUT_OF_MEMORY,
                "the kernel killed the slide process for lack of memory (SIGKILL): give the worker"
                " more memory, or fewer slides at a time",
            ).failure
        return AnalysisError(
            FailureCode.WORKER_LOST, f"the slide process was killed by signal {number} ({name})"
        ).failure
    status = os.waitstatus_to_exitcode(wait_status)
    return AnalysisError(
        FailureCode.WORKER_LOST, f"the slide process ended with exit code {status}"
    ).failure


def count_oom_kills(
    cgroup: Path = Path("/sys/fs/cgroup/memory.events"), vmstat: Path = Path("/proc/vmstat")
) -> int:
    """Processes the kernel killed for memory so far, in this cgroup or else on this machine."""
    for path in (cgroup, vmstat):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
