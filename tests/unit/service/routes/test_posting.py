import json

import pytest

from service.app import create_app
from service.contract.scan import ScanState
from service.store.models import ServedModel
from tests.installations import key_of, opened
from tests.serving import served

TIFF = b"II*\x00" + b"\x00" * 5000


def post(client, content=TIFF, *, headers=None, **metadata):
    files = {"slide": ("smear.tiff", content)}
    data = {"metadata": json.dumps(metadata)} if metadata else {}
    return client.post("/v1/scans", files=files, data=data, headers=headers or {})


def test_a_posted_slide_is_stored_queued_and_named(client, installation):
    answer = post(client, accession="A-1", um_per_px=0.1)
    assert answer.status_code == 202
    scan = answer.json()
    assert answer.headers["location"] == f"/v1/scans/{scan['scan_id']}"
    assert (scan["state"], scan["accession"]) == ("queued", "A-1")
    assert installation.layout.slide_of(scan["slide_sha256"]).read_bytes() == TIFF
    assert installation.jobs.waiting() == {f"{scan['scan_id']}-1"}


def test_the_same_slide_again_is_the_same_scan(client, installation):
    first, second = post(client), post(client)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["scan_id"] == second.json()["scan_id"]
    assert len(installation.jobs.waiting()) == 1


def test_a_forced_scan_is_another_one(client):
    first, second = post(client), post(client, force=True)
    assert second.status_code == 202
    assert first.json()["scan_id"] != second.json()["scan_id"]


def test_a_repeated_request_with_its_key_is_the_same_scan_even_if_forced(client):
    headers = {"Idempotency-Key": "lis-42"}
    first = post(client, headers=headers, force=True)
    again = post(client, headers=headers, force=True)
    assert (again.status_code, again.json()["scan_id"]) == (200, first.json()["scan_id"])


def test_a_key_that_stands_for_another_request_is_refused(client):
    headers = {"Idempotency-Key": "lis-42"}
    post(client, headers=headers)
    answer = post(client, TIFF + b"x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


def test_the_queue_being_away_loses_no_scan(client, installation, queue):
    queue.kill()
    try:
        answer = post(client)
    finally:
        queue.start()
    assert answer.status_code == 202
    assert installation.scans.get(answer.json()["scan_id"]).state is ScanState.QUEUED


def test_a_file_under_a_slide_root_is_scanned_where_it_lies(client, installation):
    path = installation.settings.slide_roots[0] / "a.tiff"
    path.write_bytes(TIFF)
    answer = client.post("/v1/scans", json={"slide_uri": path.as_uri()})
    assert answer.status_code == 202
    row = installation.scans.row(answer.json()["scan_id"])
    assert (row.slide_uri, row.slide_sha256) == (str(path), None)
    assert list(installation.layout.slides.iterdir()) == []


def test_a_file_elsewhere_is_refused_without_a_word_about_it(client, tmp_path):
    outside = tmp_path / "secret.tiff"
    outside.write_bytes(TIFF)
    answer = client.post("/v1/scans", json={"slide_uri": outside.as_uri()})
    assert (answer.status_code, answer.json()["code"]) == (403, "slide_uri_forbidden")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"um_per_px": -1}, "um_per_px"),
        ({"colour": "red"}, "colour"),
        ({"accession": "a\nb"}, "accession"),
        ({"priority": "now"}, "priority"),
        ({"slide_uri": "/etc/passwd"}, "slide_uri"),
    ],
)
def test_metadata_that_are_not_in_the_interface_are_refused(client, installation, metadata, where):
    answer = post(client, **metadata)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert any(where in error for error in answer.json()["errors"])
    assert list(installation.layout.slides.rglob("*")) == []


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 and more", b"\x89PNG\r\n\x1a\n", b"hello"])
def test_what_cannot_be_a_slide_is_refused_by_its_first_bytes(client, content):
    answer = post(client, content)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_format")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"{}", {"content-type": "application/json"}, 422),
        (b"x", {"content-type": "text/plain"}, 415),
        (b"x", {"content-type": "multipart/form-data"}, 400),
        (b"", {}, 415),
    ],
)
def test_a_body_of_another_kind_is_refused(client, body, headers, status):
    answer = client.post("/v1/scans", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_model_is_refused_with_the_known_ones(client, installation):
    installation.models.announce([ServedModel("lite", "1", "a" * 64, True)])
    answer = post(client, model="resnet")
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")
    assert "lite" in answer.json()["detail"]


def test_a_callback_to_a_host_that_is_not_listed_is_refused(client):
    answer = post(client, callback_url="http://169.254.169.254/latest")
    assert (answer.status_code, answer.json()["code"]) == (422, "callback_refused")


def test_a_full_queue_says_when_to_come_again(queue, tmp_path):
    with (
        opened(tmp_path / "small", queue.url, max_queued=1) as small,
        served(create_app(small.settings), key_of(small)) as client,
    ):
        assert post(client).status_code == 202
        answer = post(client, TIFF + b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) > 0
