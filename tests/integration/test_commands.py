"""`smearscan serve`, `api` and `worker` before anything runs: what they refuse, and how."""

import os
import subprocess
import sys

import pytest

from service.layout import DataRoot
from service.lock import own
from service.processes import SLIDE_GRACE_S, api_children, worker_children

pytestmark = pytest.mark.integration


def smearscan(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SMEARSCAN_")}
    return subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", *map(str, words)],
        env=environment | {f"SMEARSCAN_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_second_service_on_a_data_directory_is_refused_in_one_line(tmp_path):
    with own(DataRoot(tmp_path)):
        done = smearscan("serve", "--data", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"Error: the data directory {tmp_path} is in use by process {os.getpid()}"
    )


@pytest.mark.parametrize("command", ["api", "worker"])
def test_half_a_service_needs_a_queue_to_share(command, tmp_path):
    done = smearscan(command, "--data", tmp_path)
    assert done.returncode == 1
    assert "SMEARSCAN_REDIS_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "SMEARSCAN_PORT: Input should be a valid integer"),
        ("PORT", "65536", "SMEARSCAN_PORT: Input should be less than or equal to 65535"),
        ("LOG_LEVEL", "LOUD", "SMEARSCAN_LOG_LEVEL: log level 'LOUD' is none of"),
    ],
)
def test_a_wrong_setting_is_named(name, value, message, tmp_path):
    done = smearscan("serve", "--data", tmp_path, **{name: value})
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_data_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    done = smearscan("serve", "--data", tmp_path / "file" / "data")
    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_exits_with_2(tmp_path):
    assert smearscan("serve", "--workers", 0).returncode == 2
    assert smearscan("serve", "--port", 65_536).returncode == 2


def test_the_front_stops_first_then_the_workers_then_what_they_use():
    children = [*worker_children({}, 2), *api_children({})]
    order = {child.name: child.stop_order for child in children}
    assert order == {"api": 0, "reconciler": 0, "rq-1": 1, "rq-2": 1, "model": 2, "viewer": 3}


def test_a_worker_has_time_to_give_its_scan_back():
    grace_s = {child.name: child.grace_s for child in worker_children({}, 1)}
    assert grace_s["rq-1"] == SLIDE_GRACE_S > grace_s["model"]
