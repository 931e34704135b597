"""One service a data directory: two embedded queues on the same files would lose jobs."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from service.layout import DataRoot


class DataDirectoryInUse(Exception):
    """Another running service owns the data directory.

    Attributes:
        holder: "process 123 on host"; None if the owner has not written it yet.
    """

    def __init__(self, data: DataRoot, holder: str | None) -> None:
        super().__init__(
            f"the data directory {data.path} is in use by {holder or 'another service'}: "
            "stop that one, or choose another directory with --data"
        )
        self.holder = holder


@contextmanager
def own(data: DataRoot) -> Iterator[None]:
    """Own the data directory for as long as the block, or this process, lasts.

    The lock is the kernel's (flock(2)) and no child inherits it, so a file left by a killed process
    does not count.

    Raises:
        DataDirectoryInUse: somebody else owns it.
        OSError: the file cannot be made.
    """
    descriptor = os.open(data.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.read(descriptor, 400).decode(errors="replace").strip()
            raise DataDirectoryInUse(data, holder or None) from err
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
