import pytest
from rq.worker_registration import REDIS_WORKER_KEYS

from service.health import MODEL_KEYS, count_workers, examine
from tests.servers import Valkey


def announce(installation, name, *, ttl_s=30):
    """As RQ's worker does."""
    installation.redis.sadd(REDIS_WORKER_KEYS, f"rq:worker:{name}")
    installation.redis.hset(f"rq:worker:{name}", "last_heartbeat", "now")
    installation.redis.expire(f"rq:worker:{name}", ttl_s)


def test_only_workers_that_live_are_counted(installation):
    assert count_workers(installation) == 0
    announce(installation, "a")
    announce(installation, "b")
    assert count_workers(installation) == 2
    installation.redis.delete("rq:worker:a")  # as its time runs out; RQ still has its name
    assert count_workers(installation) == 1


@pytest.mark.parametrize("missing", ["worker", "model", None])
def test_a_part_that_is_missing_is_named(installation, missing):
    if missing != "worker":
        announce(installation, "a")
    if missing != "model":
        installation.redis.set(f"{MODEL_KEYS}1", "{}")
    ok = {check.name: check.ok for check in examine(installation)}
    assert ok == {part: part != missing for part in ("store", "queue", "worker", "model")}


def test_without_a_queue_server_everything_behind_it_is_missing(installation, queue: Valkey):
    queue.kill()
    try:
        ok = {check.name: check.ok for check in examine(installation)}
    finally:
        queue.start()
    assert ok == {"store": True, "queue": False, "worker": False, "model": False}
