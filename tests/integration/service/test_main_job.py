"""The main job, as a laboratory system does it: post a slide, wait, fetch the report."""

import json
import time

import pytest

from tests.integration.service.conftest import variant
from tests.running_service import RunningService
from tests.slide_files import paint_smear, write_pyramid

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("service") / "data"
    with RunningService(data) as service:
        yield service


@pytest.fixture(scope="module")
def done(service, demo_slide):
    scan = service.submit(demo_slide, accession="26-1234")
    return service.await_end(scan["scan_id"])


def test_a_posted_slide_ends_in_a_report(service, done):
    assert done["state"] == "succeeded"
    report = service.client.get(f"/v1/scans/{done['scan_id']}/report").json()
    assert report["scan_id"] == done["scan_id"]
    assert report["n_leukocytes"] == done["summary"]["n_leukocytes"] > 0
    assert report["slide"]["sha256"] == done["slide_sha256"]
    doubtful = service.client.get(f"/v1/scans/{done['scan_id']}/doubtful-objects").json()
    assert doubtful["total"] == report["region"]["doubtful_objects"]
    assert len(service.cells(done["scan_id"])) == report["n_cells"] + doubtful["total"]


def test_the_same_slide_is_answered_at_once(service, done, demo_slide):
    again = service.submit(demo_slide)
    assert (again["scan_id"], again["state"]) == (done["scan_id"], "succeeded")


def test_the_events_lead_from_the_queue_to_the_end(service, demo_slide):
    scan = service.submit(variant(demo_slide, 1))
    with service.client.stream("GET", f"/v1/scans/{scan['scan_id']}/events") as events:
        data = [line for line in events.iter_lines() if line.startswith("data: ")]
    states = [json.loads(line.removeprefix("data: "))["state"] for line in data]
    assert states[-1] == "succeeded"
    assert "running" in states


def test_a_broken_slide_fails_with_its_reason_and_is_not_tried_again(service, demo_slide):
    scan = service.submit(demo_slide[: len(demo_slide) // 3])
    ended = service.await_end(scan["scan_id"])
    assert ended["state"] == "failed"
    assert ended["failure"]["code"] in {"slide_unreadable", "tile_failures_exceeded"}
    assert ended["tries"] == 1


def test_a_slide_without_a_resolution_says_what_to_send(service, tmp_path):
    path = tmp_path / "bare.tiff"
    write_pyramid(path, paint_smear(1024, 1024))
    ended = service.await_end(service.submit(path.read_bytes())["scan_id"])
    assert ended["failure"]["code"] == "resolution_missing"


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 0.8])
def test_a_cancelled_scan_stops(service, demo_slide, delay_s):
    scan = service.submit(variant(demo_slide, int(10 + 10 * delay_s)), region="all")
    time.sleep(delay_s)
    answer = service.client.post(f"/v1/scans/{scan['scan_id']}/cancel").json()
    assert answer["state"] in {"cancelled", "succeeded"}
    service.wait(lambda: not service.pids("slide"), "idle", within_s=30)
    assert service.scan(scan["scan_id"])["state"] == answer["state"]


def test_patients_pictures_are_private_on_disk(service, done):
    assert (service.data / "slides").stat().st_mode & 0o077 == 0
    assert (service.data / "results").stat().st_mode & 0o077 == 0


def test_metrics_tell_of_scans_requests_and_the_model(service, done):
    def metrics():
        return service.client.get("/metrics").text

    # the model process tells of itself every few seconds
    service.wait(lambda: "smearscan_cells_total{" in metrics(), "told", within_s=60)
    text = metrics()
    assert 'smearscan_scans{queue="interactive",state="succeeded"}' in text
    assert "smearscan_http_requests_total" in text
    assert 'smearscan_up{part="queue"} 1.0' in text
