"""RQ's worker with three additions: SQL sees its heartbeat, deaths are named, a stop re-queues.

RQ forks one process per scan, watches it, and tells how it died. What RQ notes in Redis is for
operators; the truth is written to SQL, fenced by the attempt.
"""

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from rq import Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker_registration import register
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

IDLE_TTL_S: Final = 20
"""An idle worker looks up from the queue 15 s before this, and says that it lives."""
SEEN_FOR_S: Final = 30
"""An idle worker that was killed counts as living for this long, s."""

_log = structlog.get_logger(__name__)


class ScanWorker(Worker):
    """Works off the queues of an installation, one slide at a time."""

    max_connection_wait_time = 5.0
    """Between looks for a queue server that is gone, at most, s."""

    def __init__(self, installation: Installation, name: str) -> None:
        super().__init__(
            list(installation.jobs.queues.values()),
            name=name,
            connection=installation.redis,
            serializer=JSONSerializer,
            job_monitoring_interval=BEAT_S,
            worker_ttl=IDLE_TTL_S,
        )
        self._installation = installation
        self._cause: Failure | None = None
        self._status: int | None = None
        self._releasing = False
        self._oom_kills = 0
        self._pid = os.getpid()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that the worker lives; also to a server that has forgotten its name."""
        super().heartbeat(timeout or SEEN_FOR_S, pipeline)
        register(self, pipeline)

    def fork_work_horse(self, job: Job, queue: Any) -> None:
        """Fork the slide process; what will explain its death starts anew."""
        self._pid = os.getpid()
        self._cause, self._status, self._oom_kills = None, None, count_oom_kills()
        super().fork_work_horse(job, queue)

    def main_work_horse(self, job: Job, queue: Any) -> None:
        """The slide process: ends with its worker, and uses none of the worker's connections."""
        die_with(self._pid)
        self._installation.engine.dispose(close=False)
        super().main_work_horse(job, queue)

    def wait_for_horse(self) -> Any:
        """Wait for the slide process, and remember how it ended."""
        pid, status, usage = super().wait_for_horse()
        if status is not None:
            self._status = status
        return pid, status, usage

    def monitor_work_horse(self, job: Job, queue: Any, execution: Execution) -> None:
        """Watch the slide process to its end; SQL learns of it whatever Redis knows or answers."""
        try:
            super().monitor_work_horse(job, queue, execution)
        finally:
            self._end_attempt(*parse_job_id(job.id))

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Each second: SQL learns that the scan lives, and whether it should is asked there."""
        self._kill_if_unwanted(job)
        self._kill_if_hung(job)
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as err:
            _log.warning("Redis does not answer; the scan goes on", error=str(err))

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the slide process with its group; alone if it was forked just now and has none."""
        with suppress(ProcessLookupError):
            if os.getpgid(self.horse_pid) == os.getpgrp():
                os.kill(self.horse_pid, sig)
                return
        super().kill_horse(sig)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: give the running scan back to the queue and end."""
        self._releasing = True
        try:
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]
        finally:
            if self.horse_pid:
                self.kill_horse()

    def _kill_if_unwanted(self, job: Job) -> None:
        scan_id, attempt = parse_job_id(job.id)
        if self._releasing:  # the signal came while the process was being forked
            self.kill_horse()
        try:
            if self._installation.lifecycle.touch(scan_id, attempt):
                return
            row = self._installation.scans.find_row(scan_id)
        except SQLAlchemyError as err:
            _log.warning("the database does not answer; the scan goes on", error=type(err).__name__)
            return
        if row is None or row.state == ScanState.CANCELLED or row.attempt != attempt:
            _log.info("killing the slide process: its attempt no longer counts", job=job.id)
            self.kill_horse()

    def _kill_if_hung(self, job: Job) -> None:
        if job.started_at is None or not job.timeout:
            return
        running_s = (now() - job.started_at).total_seconds()
        if running_s > job.timeout + HUNG_AFTER_S:
            self._cause = timed_out(int(job.timeout))
            self.kill_horse()

    def _end_attempt(self, scan_id: str, attempt: int) -> None:
        """Write to SQL how the slide process ended, if it did not end its attempt itself.

        An attempt that another worker runs is left alone: its job was handed out twice.
        """
        lifecycle = self._installation.lifecycle
        try:
            row = self._installation.scans.find_row(scan_id)
            if row is None or (row.state, row.attempt, row.worker) != (
                ScanState.RUNNING,
                attempt,
                self.name,
            ):
                return
            if self._releasing:
                lifecycle.release(scan_id, attempt)
                _log.info("shutting down: the scan goes back to the queue", scan_id=scan_id)
                return
            oom = count_oom_kills() > self._oom_kills
            failure = self._cause or explain_death(self._status, out_of_memory=oom)
            state = lifecycle.fail(scan_id, attempt, failure)
        except SQLAlchemyError as err:
            _log.error(
                "the database does not answer; the reconciler will miss the scan",
                scan_id=scan_id,
                error=type(err).__name__,
            )
            return
        _log.error("slide process died", scan_id=scan_id, message=failure.message, now=state)


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


def explain_death(wait_status: int | None, *, out_of_memory: bool) -> Failure:
    """What a process's wait status says to somebody who was not there.

    Args:
        wait_status: as `os.wait` gives it; None: it was not told.
        out_of_memory: the kernel killed a process for memory meanwhile.
    """
    if wait_status is None:
        return _lost("the slide process is gone, and the system did not tell how it ended")
    code = os.waitstatus_to_exitcode(wait_status)
    if code == -signal.SIGKILL and out_of_memory:
        return AnalysisError(
            FailureCode.OUT_OF_MEMORY,
            "the kernel killed the slide process for lack of memory (SIGKILL): give the worker"
            " more memory, or fewer slides at a time",
        ).failure
    if code < 0:
        return _lost(f"the slide process was killed by signal {-code} ({signal_name(-code)})")
    return _lost(f"the slide process ended with exit code {code} before its scan did")


def signal_name(number: int) -> str:
    """`SIGSEGV` and the like; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _lost(message: str) -> Failure:
    return AnalysisError(FailureCode.WORKER_LOST, message).failure


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
