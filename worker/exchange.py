"""Two paths trade places in one step."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""renameat2(2), <linux/fcntl.h> and <linux/fs.h>."""

_UNSUPPORTED: Final = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def exchange_paths(one: Path, other: Path) -> bool:
    """Let two paths of one file system trade names atomically, whatever they are.

    Returns:
        False, with nothing done, where the system or the file system has no such operation.

    Raises:
        OSError: a path does not exist, or may not be renamed.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
