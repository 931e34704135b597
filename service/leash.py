"""A process that dies with its parent, however the parent dies.

Run as a script, `python -I -S leash.py PARENT_PID COMMAND …` ties itself to its parent and becomes
the command; the tie outlives execve(2), but not fork(2): a child that forks ties its own children
with `die_with`. On anything but Linux nothing is tied.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process (SIGKILL) as soon as its parent is gone (prctl(2)).

    To be called first thing in the child. The parent's *thread* that forked counts as the parent.

    Args:
        parent_pid: of the process that forked this one, asked before the fork: if it is gone by
            now, this process ends at once.

    Raises:
        OSError: the kernel refused.
    """
    if not sys.platform.startswith("linux"):
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, instead of init (prctl(2)).

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _main(parent_pid: str, *command: str) -> None:
    die_with(int(parent_pid))
    try:
        os.execvp(command[0], command)  # noqa: S606 - the supervisor's own list
    except OSError as err:
        print(f"{command[0]}: {err.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    _main(*sys.argv[1:])
