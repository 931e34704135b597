"""Two reconcilers on one installation: one works, and the other when that one is killed."""

import os
import subprocess
import sys
import time

import pytest

from service.jobs import job_id
from service.reconciler import LOCK
from tests.installations import opened, waiting_scan
from tests.running_service import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WITHIN_S = 120


@pytest.fixture
def installation(tmp_path, valkey, empty_sqlite):
    with opened(tmp_path / "data", valkey.url, empty_sqlite=empty_sqlite) as installation:
        yield installation


@pytest.fixture
def start_reconciler(installation):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SMEARSCAN_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "SMEARSCAN_DATA": str(installation.layout.path),
        "SMEARSCAN_REDIS_URL": installation.settings.redis_url,
    }
    command = [sys.executable, "-m", "service.reconciler"]
    started = []

    def start():
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def await_hand_over(installation, number):
    """A new scan is handed to the workers by whoever leads."""
    job = job_id(waiting_scan(installation, number), 1)
    deadline = time.monotonic() + WITHIN_S
    while job not in installation.jobs.waiting():
        assert time.monotonic() < deadline, "nobody works"
        time.sleep(0.1)


def test_the_other_takes_over_from_a_killed_one(installation, start_reconciler):
    first = start_reconciler()
    await_hand_over(installation, 1)
    holder = installation.redis.get(LOCK)
    second = start_reconciler()
    await_hand_over(installation, 2)
    assert installation.redis.get(LOCK) == holder, "one leads"

    first.kill()
    first.wait()
    await_hand_over(installation, 3)
    second.terminate()
    assert second.wait(WITHIN_S) == 0
    assert installation.redis.get(LOCK) is None, "its successor need not wait"
