"""Workers that come and go while there is work, as on a second machine."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from service.layout import DataRoot
from tests.integration.service.conftest import variant
from tests.running_service import ROOT, START_S, RunningService
from tests.servers import short_directory

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def other_machine(service):
    """`smearscan worker` on the same queue and data; its sockets are its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SMEARSCAN_")}
    socket = DataRoot(service.data).redis_socket
    settings = {"REDIS_URL": f"unix://{socket}", "DEVICE": "cpu", "WORKERS": "1"}
    environment |= {f"SMEARSCAN_{name}": value for name, value in settings.items()}
    log = service.data.with_name("other.log")
    command = "from service.cli import main; main()"
    with short_directory() as directory, log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "worker", "--data", str(service.data)],
            cwd=ROOT,
            env={**environment, "TMPDIR": str(directory), "PYTHONPATH": str(ROOT)},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        yield process
        process.kill()
        process.wait()


def row_of_other(service, process):
    """(id, attempt) of a scan that runs on the other machine."""
    workers = service.pids_below(process.pid, "worker\0rq")
    with sqlite3.connect(f"file:{service.data}/smearscan.db?mode=ro", uri=True) as connection:
        running = connection.execute(
            "SELECT id, attempt, worker FROM scans WHERE state = 'running'"
        ).fetchall()
    for scan_id, attempt, worker in running:
        if int(worker.rpartition("-")[2]) in workers:
            return scan_id, attempt
    return None


def test_a_worker_that_is_stopped_gives_its_scan_back_at_once(service, demo_slide, other_machine):
    names = [service.submit(variant(demo_slide, n), region="all")["scan_id"] for n in range(2)]
    found = None

    def works():
        nonlocal found
        if not any(service.scan(name)["state"] == "queued" for name in names):
            names.append(service.submit(variant(demo_slide, len(names)), region="all")["scan_id"])
        found = row_of_other(service, other_machine)
        return found is not None

    service.wait(works, "working on the other machine")
    scan_id, attempt = found
    other_machine.send_signal(signal.SIGTERM)

    def given_back():
        with sqlite3.connect(f"file:{service.data}/smearscan.db?mode=ro", uri=True) as connection:
            row = connection.execute(
                "SELECT attempt, tries FROM scans WHERE id = ?", (scan_id,)
            ).fetchone()
        return row == (attempt + 1, 0)

    service.wait(given_back, "given back", 15)
    assert other_machine.wait(START_S) == 0
    ended = [service.await_end(name) for name in names]
    assert [scan["state"] for scan in ended] == ["succeeded"] * len(names)
    assert {scan["tries"] for scan in ended} == {0}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with RunningService(tmp_path_factory.mktemp("service") / "data") as service:
        yield service
