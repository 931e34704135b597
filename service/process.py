"""What Linux can do for a process that the standard library does not offer."""

import ctypes
import os
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2), <linux/prctl.h>."""


def die_with_parent(signum: int) -> None:
    """Have the kernel send this process a signal when its parent ends; elsewhere a no-op.

    To be called in the child. If the parent is gone already the process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent or parent == 1:
        os.kill(os.getpid(), signum)
