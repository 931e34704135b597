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


def test_jobs_survive_kill_9(data):
    with valkey(data) as (process, client):
        for number in range(20):
            queue(client).enqueue_call(
                "worker.tasks.scan", [f"s{number}", 1], job_id=f"s{number}-1"
            )
        process.kill()  # at once: nothing was flushed on purpose
        process.wait()
    with valkey(data) as (_, client):
        jobs = queue(client).jobs
        assert [job.id for job in jobs] == [f"s{number}-1" for number in range(20)]
        assert jobs[3].args == ["s3", 1]


def test_a_write_that_a_power_cut_halved_is_dropped_and_the_rest_kept(data):
    with valkey(data) as (process, client):
        client.set("whole", 1)
        client.set("halved", "x" * 1000)
        process.kill()
    (log,) = data.redis.glob("appendonlydir/*.incr.aof")
    log.write_bytes(log.read_bytes()[:-500])
    with valkey(data) as (_, client):
        assert client.get("whole") == b"1"
        assert client.get("halved") is None
        assert client.set("after", 1)


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
    work = f"import time, pathlib; pathlib.Path({str(started)!r}).touch(); time.sleep(2)"
    rq = str(Path(sys.executable).with_name("rq"))
    listen = [rq, "worker", "--url", redis_url(data), "interactive"]
    with valkey(data) as (_, client):  # the job is there before the service starts
        queue(client).enqueue_call(
            "subprocess.check_call", [[sys.executable, "-c", work]], job_id="a"
        )
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
        service.see("started", "later")
        assert service.stop() == 0
        assert ("killed", "rq-1") not in service.said()
    with valkey(data) as (_, client):
        assert queue(client).fetch_job("a").is_finished
