"""Pixels shared between two processes without a copy through a socket, and without a name.

A memfd (Linux) has no name in any file system: the kernel frees it with its last owner, so a
process killed with SIGKILL leaves nothing behind. Its size is sealed, so that whoever sends one
cannot cut it afterwards and have the receiver die of SIGBUS.
"""

import fcntl
import mmap
import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.model.wire import MAX_SHARED_BYTES, InvalidMessage

SMALLEST: Final = 1 << 20
"""Bytes; sizes are powers of two from here, so that few requests need a larger memory."""

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class OwnMemory:
    """Memory of this process that another may read.

    Args:
        at_least: bytes it has to hold, at most `MAX_SHARED_BYTES`.

    Attributes:
        fd: to be sent; closed by `close`.
        size: bytes.
    """

    def __init__(self, at_least: int) -> None:
        self.size = max(SMALLEST, 1 << (at_least - 1).bit_length())
        assert self.size <= MAX_SHARED_BYTES
        self.fd = os.memfd_create("smearscan-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, self.size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map = mmap.mmap(self.fd, self.size)
        except BaseException:
            os.close(self.fd)
            raise

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Copy an array to the beginning."""
        target = np.frombuffer(self._map, np.uint8, pixels.size).reshape(pixels.shape)
        np.copyto(target, pixels)

    def close(self) -> None:
        """Give it up; the other side keeps what it mapped."""
        self._map.close()
        os.close(self.fd)


def map_received(fd: int, size: int) -> NDArray[np.uint8]:
    """Map memory another process sent; the caller still closes `fd`.

    Returns:
        Shape (size,), to be read. It could be written, for torch warns of arrays that cannot.
        Unmapped when the last array over it is gone.

    Raises:
        InvalidMessage: it is not what `OwnMemory` makes: another size, too large, or not sealed.
    """
    try:
        actual, seals = os.fstat(fd).st_size, fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        if not 0 < size <= MAX_SHARED_BYTES or actual != size or not seals & fcntl.F_SEAL_SHRINK:
            raise InvalidMessage(
                f"memory of {actual} bytes, said to be {size}: want at most {MAX_SHARED_BYTES},"
                " sealed against shrinking"
            )
        mapped = mmap.mmap(fd, size)
    except OSError as err:
        raise InvalidMessage(f"memory that cannot be mapped: {err.strerror}") from err
    return np.frombuffer(mapped, np.uint8)
