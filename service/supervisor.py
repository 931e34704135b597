"""Keeps a list of processes alive, and ends them in order.

A dead child is started again with growing waits. SIGTERM or ctrl-C stops all, in their order, each
with its time to finish; ctrl-C again kills all at once. Nothing outlives the supervisor: a child is
tied to it by `leash`, and descendants whose parent died are adopted, given a second, and killed
(Linux; elsewhere only the children themselves are stopped). Woken by signals, never polling.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from service import leash

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
SETTLED_S: Final = 30.0
"""A child that lived this long is well: its next death is its first."""
ORPHAN_GRACE_S: Final = 1.0
"""Time for a dead child's own children to notice: multiprocessing's tracker frees shared memory."""

_LEASH: Final = (sys.executable, "-I", "-S", str(Path(leash.__file__)))
_log = structlog.stdlib.get_logger(__name__)


class ChildNotReady(Exception):
    """A child did not become ready in its time."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(
            f"{name} was not ready after {timeout_s:g} s: the log lines above say why it failed"
        )
        self.name = name
        self.timeout_s = timeout_s


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep alive.

    Attributes:
        name: in the log; unique.
        argv: the command, found on PATH.
        environment: added to the supervisor's own.
        ready: returns once the child can be used; children further down the list are started then.
        ready_timeout_s: time `ready` may take.
        stop_signal: asks it to finish.
        stop_order: children with a lower number are gone before those with a higher one are asked.
        grace_s: time to finish; then it is killed.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[None]] | None = None
    ready_timeout_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_order: int = 0
    grace_s: float = 10.0


def next_wait(previous_s: float, lived_s: float) -> float:
    """Wait before a dead child's next start, s, from the last wait (0: none yet) and its life."""
    if lived_s >= SETTLED_S or previous_s == 0:
        return FIRST_WAIT_S
    return min(2 * previous_s, LONGEST_WAIT_S)


def how_it_died(status: int) -> str:
    """A wait status in words, e.g. "exit code 3"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    try:
        return f"signal {signal.Signals(-code).name}{hint}"
    except ValueError:  # a real-time signal
        return f"signal {-code}"


class _Kept:
    """A child, over its lives. Its pid is set exactly while it has not been waited for."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid: int | None = None
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stop = asyncio.Event()
        self.over = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        wait_s = 0.0
        while not self.stop.is_set():
            began = monotonic()
            try:
                self._start()
            except OSError as err:  # no memory, no processes left
                how = str(err)
            else:
                how = how_it_died(await self.died)
            if self.stop.is_set():
                _log.info("stopped", child=self.child.name, how=how)
                return
            wait_s = next_wait(wait_s, monotonic() - began)
            _log.error("died", child=self.child.name, how=how, restart_in_s=wait_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), wait_s)

    def _start(self) -> None:
        """Start it. Without an await: its death must find its pid."""
        self.died = asyncio.get_running_loop().create_future()
        process = subprocess.Popen(  # noqa: S603 - the list is ours
            (*_LEASH, str(os.getpid()), *self.child.argv),
            env={**os.environ, **self.child.environment},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,  # the terminal's ctrl-C is the supervisor's alone
        )
        process.returncode = 0  # waited for in Supervisor._reap
        self.pid = process.pid
        _log.info("started", child=self.child.name, child_pid=self.pid)

    async def end(self) -> None:
        """Ask it to finish, wait, kill."""
        self.stop.set()
        if self.pid is not None:
            os.kill(self.pid, self.child.stop_signal)
        done, _ = await asyncio.wait({self.over}, timeout=self.child.grace_s)
        if not done:
            _log.warning("killed", child=self.child.name, after_s=self.child.grace_s)
            self.kill()
        await self.over

    def kill(self) -> None:
        """Kill it with its process group, now."""
        self.stop.set()
        if self.pid is not None:
            os.killpg(self.pid, signal.SIGKILL)


class Supervisor:
    """Runs children until a signal. To be the only user of child processes in its process."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._kept: list[_Kept] = []
        self._asked = asyncio.Event()
        self._killed = False
        self._sweep: asyncio.TimerHandle | None = None
        self._childless = asyncio.Event()

    async def run(self, on_started: Callable[[], Coroutine[None, None, None]] | None) -> bool:
        """Start all in order, keep them, stop them when asked; True unless they were killed.

        Args:
            on_started: runs beside the children once all are started; cancelled by a stop.

        Raises:
            ChildNotReady: after all was stopped again.
        """
        leash.adopt_orphans()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGTERM, self._asked.set)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored: started by nohup
            loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        try:
            await self._unless_asked(self._start())
            if on_started is not None:
                await self._unless_asked(on_started())
            await self._asked.wait()
        finally:
            self._asked.set()
            await self._stop()
        return not self._killed

    async def _start(self) -> None:
        for child in self._children:
            self._kept.append(_Kept(child))
            await asyncio.sleep(0)
            if child.ready is not None:
                try:
                    await asyncio.wait_for(child.ready(), child.ready_timeout_s)
                except TimeoutError as err:
                    raise ChildNotReady(child.name, child.ready_timeout_s) from err

    async def _unless_asked(self, work: Coroutine[None, None, None]) -> None:
        """Do the work, or as much of it as there is time for until a stop is asked for."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        done, _ = await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        (asked if task in done else task).cancel()
        if task in done:
            task.result()

    async def _stop(self) -> None:
        for order in sorted({kept.child.stop_order for kept in self._kept}):
            phase = [kept for kept in self._kept if kept.child.stop_order == order]
            _log.info("stopping", children=[kept.child.name for kept in phase])
            await asyncio.gather(*(kept.end() for kept in phase))
        self._reap()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._childless.wait(), 5 * ORPHAN_GRACE_S)

    def _interrupted(self) -> None:
        if self._asked.is_set():
            self._killed = True
            for kept in self._kept:
                kept.kill()
            self._kill_orphans()
        self._asked.set()

    def _reap(self) -> None:
        """Wait for every child that is dead, ours or adopted."""
        by_pid = {kept.pid: kept for kept in self._kept}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless.set()
                return
            self._childless.clear()
            if pid == 0:
                break
            if (kept := by_pid.get(pid)) is not None:
                kept.pid = None
                kept.died.set_result(status)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(ORPHAN_GRACE_S, self._kill_orphans)

    def _kill_orphans(self) -> None:
        """Kill what was adopted. It keeps its pid until it is waited for: nobody else is hit."""
        self._sweep = None
        ours = {kept.pid for kept in self._kept}
        with suppress(FileNotFoundError):  # not Linux, or a kernel without CONFIG_PROC_CHILDREN
            listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
            for pid in {int(word) for word in listed.split()} - ours:
                _log.warning("killed an orphan", orphan_pid=pid)
                os.kill(pid, signal.SIGKILL)


def supervise(
    children: Sequence[Child],
    on_started: Callable[[], Coroutine[None, None, None]] | None = None,
) -> bool:
    """Run children until SIGTERM or ctrl-C; True if they were stopped in order.

    Raises:
        ChildNotReady: a child could not be started; all are stopped.
    """

    async def run() -> bool:
        return await Supervisor(children).run(on_started)

    return asyncio.run(run())
