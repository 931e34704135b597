"""What keeps a process with networks in it fast, and within its memory.

PyTorch on a CPU allocates and frees tens of megabytes per layer. With glibc's defaults each goes
through mmap and costs page faults: measured 1.85 against 4.1 ResNeXt-50 patches/s at 400 px on
two cores.

oneDNN keeps what it compiled for the last 1,024 shapes of every layer. Where each batch has another
size, as candidates of a verifier do, that grows by gigabytes.
"""

import ctypes
import os
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEEP_BELOW: Final = 1_000_000_000
"""Bytes; blocks smaller than this come from and stay in the heap."""
_ONEDNN_CACHE: Final = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_FEW_KERNELS: Final = "128"
"""Those of one batch of either of the detector's networks, forward and backward."""


def keep_few_kernels() -> None:
    """Have oneDNN forget kernels of shapes that do not come again. A value that is set stays.

    To be called before the first network runs: it is read once.
    """
    os.environ.setdefault(_ONEDNN_CACHE, _FEW_KERNELS)


def keep_freed_memory() -> bool:
    """Raise glibc's mmap and trim thresholds in this process; True if both took effect.

    To be called before the first large tensor. A no-op where libc is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    thresholds = (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    return all(libc.mallopt(which, _KEEP_BELOW) == 1 for which in thresholds)
