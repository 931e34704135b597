"""Several processes that answer HTTP on one port."""

import os
import re
import signal

import httpx
import pytest

from tests.running_service import RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PROCESSES = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("processes") / "data"
    with RunningService(data, api_processes=PROCESSES) as service:
        yield service


def ask(service, path: str) -> httpx.Response:
    """By a connection of its own: any of the processes answers."""
    return httpx.get(f"{service.client.base_url}{path}", headers=service.client.headers)


def counted(service, route: str) -> int:
    text = ask(service, "/metrics").text
    pattern = rf'smearscan_http_requests_total{{method="GET",route="{route}",status="200"}} (\d+)'
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def answering(service) -> list[int]:
    """Processes that answer: the children of the one that holds the port."""
    (front,) = service.pids("api")
    return service.pids_below(front, "spawn_main")


def test_their_requests_are_counted_together_also_those_of_one_that_died(service):
    before = counted(service, "/v1/scans")
    for _ in range(30):
        assert ask(service, "/v1/scans").status_code == 200
    assert [counted(service, "/v1/scans") - before for _ in range(5)] == [30] * 5

    processes = answering(service)
    assert len(processes) == PROCESSES
    os.kill(processes[0], signal.SIGKILL)
    service.wait(
        lambda: len(answering(service)) == PROCESSES and processes[0] not in answering(service),
        "replaced",
    )
    service.wait(service.is_ready, "ready")
    assert counted(service, "/v1/scans") - before == 30


def test_a_scan_is_the_same_from_all_of_them(service, demo_slide):
    scan_id = service.submit(demo_slide)["scan_id"]
    assert service.await_end(scan_id)["state"] == "succeeded"
    reports = {ask(service, f"/v1/scans/{scan_id}/report").text for _ in range(12)}
    assert len(reports) == 1
