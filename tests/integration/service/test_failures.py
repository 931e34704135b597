"""What goes wrong on a day, in one running service: each is named, and nothing is lost."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner
from redis import Redis

from service.access.commands import keys
from service.layout import DataRoot
from tests.disks import filled, mounted
from tests.integration.service.conftest import variant
from tests.receivers import is_signed, receiving
from tests.running_service import ROOT, RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SECRET = "between-us"
DISK = 24 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("service") / "data"
    settings = {
        "workers": 2,
        "retry_backoff_s": 2,
        "webhook_hosts": '["127.0.0.1"]',
        "webhook_private": True,
        "webhook_secret": SECRET,
    }
    with mounted(data / "results", DISK), RunningService(data, **settings) as service:
        yield service


@pytest.fixture(scope="module")
def done(service, demo_slide):
    """A scan that nothing happened to."""
    scan = service.await_end(service.submit(demo_slide)["scan_id"])
    assert scan["state"] == "succeeded"
    return scan


def rows(service, columns, where="1=1"):
    with sqlite3.connect(f"file:{service.data}/smearscan.db?mode=ro", uri=True) as connection:
        return connection.execute(f"SELECT {columns} FROM scans WHERE {where}").fetchall()


def await_failure(service, scan_id):
    """Why the last try failed, while the scan waits for its next."""
    service.wait(lambda: service.scan(scan_id)["failure"] is not None, "failed once")
    return service.scan(scan_id)["failure"]


def test_the_signal_that_killed_a_slide_process_is_named(service, demo_slide, done):
    scan_id = service.submit(variant(demo_slide, 1), region="all")["scan_id"]
    service.wait(lambda: service.scan(scan_id)["state"] == "running", "working")
    assert service.kill("slide", signum=signal.SIGSEGV)
    failure = await_failure(service, scan_id)
    assert (failure["code"], failure["retryable"]) == ("worker_lost", True)
    assert "signal 11 (SIGSEGV)" in failure["message"]
    ended = service.await_end(scan_id)
    assert (ended["state"], ended["tries"], ended["failure"]) == ("succeeded", 1, None)


def test_a_stored_slide_that_changed_is_not_reported_on(service, demo_slide, done):
    workers = service.pids("rq")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        scan = service.submit(variant(demo_slide, 2))
        path = DataRoot(service.data).slide_of(scan["slide_sha256"])
        bytes_ = bytearray(path.read_bytes())
        bytes_[-1] ^= 1
        path.write_bytes(bytes_)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    ended = service.await_end(scan["scan_id"])
    assert (ended["state"], ended["tries"]) == ("failed", 1)
    assert ended["failure"]["code"] == "slide_unreadable"
    assert "SHA-256" in ended["failure"]["message"]
    assert "send the slide again" in ended["failure"]["message"]


def test_a_stored_slide_that_is_gone_is_told(service, demo_slide, done):
    workers = service.pids("rq")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        scan = service.submit(variant(demo_slide, 3))
        DataRoot(service.data).slide_of(scan["slide_sha256"]).unlink()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    ended = service.await_end(scan["scan_id"])
    assert (ended["state"], ended["failure"]["code"]) == ("failed", "slide_unreadable")
    assert str(service.data) not in ended["failure"]["message"]


@pytest.mark.parametrize("lacking", ["everything", "the report"])
def test_a_full_disk_delays_a_scan_and_leaves_no_half_result(service, demo_slide, done, lacking):
    results = service.data / "results"
    size = {path.name: path.stat().st_size for path in (results / done["scan_id"]).rglob("*.*")}
    room = 0 if lacking == "everything" else sum(size.values()) - size["report.html"] // 2
    number = 4 if lacking == "everything" else 5
    with filled(results, leave_bytes=room):
        scan_id = service.submit(variant(demo_slide, number))["scan_id"]
        failure = await_failure(service, scan_id)
        assert (failure["code"], failure["retryable"]) == ("storage_full", True)
        assert "ree space" in failure["message"]
        assert [path for path in results.glob(f"{scan_id}/*") if path.name.isdigit()] == []
    ended = service.await_end(scan_id)
    assert ended["state"] == "succeeded"
    assert ended["tries"] >= 1
    (attempt,) = (results / scan_id).iterdir()
    assert {path.name for path in attempt.iterdir()} == set(size)


def test_the_receiver_is_told_of_success_failure_and_cancellation(service, demo_slide, done):
    with receiving(500, 200) as receiver:
        good, cut, unwanted = (
            service.submit(content, callback_url=receiver.url, region=region)["scan_id"]
            for content, region in (
                (variant(demo_slide, 6), "monolayer"),
                (demo_slide[: len(demo_slide) // 3], "monolayer"),
                (variant(demo_slide, 7), "all"),
            )
        )
        service.client.post(f"/v1/scans/{unwanted}/cancel")
        names = (good, cut, unwanted)
        service.wait(lambda: all(receiver.of(name) for name in names), "told of all", 120)
        service.wait(lambda: len(receiver.messages) == 4, "told again what was refused", 60)
    states = {m.notice["scan"]["scan_id"]: m.notice["scan"]["state"] for m in receiver.messages}
    assert states == {good: "succeeded", cut: "failed", unwanted: "cancelled"}
    for message in receiver.messages:
        assert is_signed(message, SECRET)
        text = message.body.decode()
        assert str(service.data) not in text
        assert "Traceback" not in text


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://localhost/", "http://evil.example/"])
def test_a_callback_to_somebody_else_is_refused(service, demo_slide, done, url):
    answer = service.client.post(
        "/v1/scans",
        files={"slide": ("a.tiff", variant(demo_slide, 8))},
        data={"metadata": f'{{"callback_url": "{url}"}}'},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "callback_refused")


@pytest.mark.parametrize("end", ["flushed", "killed"])
def test_a_queue_that_lost_everything_loses_no_scan(service, demo_slide, done, end):
    first = {"flushed": 20, "killed": 50}[end]
    names = [service.submit(variant(demo_slide, first + n))["scan_id"] for n in range(5)]
    service.wait(lambda: bool(service.pids("slide")), "working")
    if end == "killed":
        service.kill("valkey")
    else:
        with Redis(unix_socket_path=str(DataRoot(service.data).redis_socket)) as redis:
            redis.flushall()
    assert [service.await_end(name)["state"] for name in names] == ["succeeded"] * 5
    assert {tries for (tries,) in rows(service, "tries", f"id IN {tuple(names)}")} == {0}
    service.wait(service.is_ready, "ready: workers make themselves known again", 30)


def test_two_workers_process_each_scan_once(service, demo_slide, done):
    names = [service.submit(variant(demo_slide, 30 + n))["scan_id"] for n in range(4)]
    assert [service.await_end(name)["state"] for name in names] == ["succeeded"] * 4
    assert (
        rows(service, "attempt, result_attempt, tries", f"id IN {tuple(names)}") == [(1, 1, 0)] * 4
    )
    log = service.log.read_text().splitlines()
    for name in names:
        started = [line for line in log if name in line and '"scan started"' in line]
        assert len(started) == 1
        assert [path.name for path in (service.data / "results" / name).iterdir()] == ["1"]


def test_a_second_service_on_the_same_directory_is_refused(service):
    command = "from service.cli import main; main()"
    second = subprocess.run(
        [sys.executable, "-c", command, "serve", "--data", service.data, "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"process {service.process.pid}" in second.stderr
    service.wait(service.is_ready, "ready", 30)


def test_keys_are_made_and_revoked_beside_a_running_service(service):
    def run(*words):
        return CliRunner().invoke(keys, [*words, "--data", str(service.data)])

    made = run("create", "lis", "--role", "read", "--json")
    assert made.exit_code == 0, made.output
    key = json.loads(made.output)
    headers = {"Authorization": f"Bearer {key['secret']}"}
    assert service.client.get("/v1/scans", headers=headers).status_code == 200
    assert run("revoke", key["id"]).exit_code == 0
    service.wait(
        lambda: service.client.get("/v1/scans", headers=headers).status_code == 401, "shut", 30
    )
