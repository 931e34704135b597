"""A real Valkey, killed."""

import asyncio
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from service.embedded import redis_url, server_argv, wait_until_ready
from service.layout import DataRoot
from tests.supervised import Supervised

pytestmark = pytest.mark.integration


@pytest.fixture
def data(tmp_path) -> Iterator[DataRoot]:
    root = DataRoot(tmp_path)
    root.make()
    yield root
    root.redis_socket.unlink(missing_ok=True)
    root.run.rmdir()


@contextmanager
def valkey(data: DataRoot) -> Iterator[tuple[subprocess.Popen[bytes], Redis]]:
    """The server, ready, and a client; killed at the end."""
    with subprocess.Popen(server_argv(data), stdout=subprocess.DEVNULL) as process:
        try:
            asyncio.run(asyncio.wait_for(wait_until_ready(redis_url(data)), 60))
            with Redis.from_url(redis_url(data)) as client:
                yield process, client
        finally:
            process.kill()


def queue(client: Redis) -> Queue:
    return Queue("interactive", connection=client, serializer=JSONSerializer)


@pytest.mark.parametrize("end", [subprocess.Popen.kill, subprocess.Popen.terminate])
def test_nothing_is_written_that_could_stop_the_next_server(data, monkeypatch, end):
    monkeypatch.chdir(data.path)  # where a server that is not told otherwise writes
    before = sorted(data.path.rglob("*"))
    with valkey(data) as (process, client):
        queue(client).enqueue_call("worker.tasks.scan", ["s", 1])
        end(process)
        process.wait()
    assert sorted(data.path.rglob("*")) == before
    with valkey(data) as (_, client):
        assert client.keys() == []


def test_a_killed_servers_socket_does_not_stop_the_next(data):
    for _ in range(2):
        with valkey(data) as (_, client):
            assert client.ping()
        assert data.redis_socket.exists()


def test_nobody_but_the_services_user_reaches_the_server(data):
    with valkey(data) as (_, client):
        assert client.config_get("port") == {"port": "0"}
        assert stat.S_IMODE(data.redis_socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(data.run.stat().st_mode) == 0o700


def test_jobs_are_never_evicted(data):
    with valkey(data) as (_, client):
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_waiting_for_a_server_lasts_until_it_is_there(data):
    async def wait() -> bool:
        waiting = asyncio.ensure_future(wait_until_ready(redis_url(data)))
        await asyncio.sleep(0.3)
        early = waiting.done()
        with subprocess.Popen(server_argv(data), stdout=subprocess.DEVNULL) as process:
            try:
                await asyncio.wait_for(waiting, 60)
            finally:
                process.kill()
        return early

    assert not asyncio.run(wait())


def test_a_worker_that_is_stopped_finishes_its_job_before_the_queue_goes(data):
    started = data.path / "started"
    ended = data.path / "ended"
    work = (
        "import time, pathlib\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        "time.sleep(2)\n"
        f"pathlib.Path({str(ended)!r}).touch()\n"
    )
    rq = str(Path(sys.executable).with_name("rq"))
    listen = [rq, "worker", "--url", redis_url(data), "interactive"]
    with Supervised(
        {"name": "valkey", "argv": server_argv(data), "stop_order": 9},
        {
            "name": "rq-1",
            "argv": [*listen, "--serializer", "rq.serializers.JSONSerializer"],
            "ready_file": str(started),
            "ready_timeout_s": 60,
            "stop_order": 1,
            "grace_s": 60,
        },
        {"name": "later", "argv": ["sleep", "600"]},
    ) as service:
        service.see("started", "valkey")
        asyncio.run(asyncio.wait_for(wait_until_ready(redis_url(data)), 60))
        with Redis.from_url(redis_url(data)) as client:
            queue(client).enqueue_call("subprocess.check_call", [[sys.executable, "-c", work]])
        service.see("started", "later")
        assert service.stop() == 0
        said = service.said()
        assert ("killed", "rq-1") not in said
        assert said.index(("stopped", "rq-1")) < said.index(("stopped", "valkey"))
        assert ended.exists()
