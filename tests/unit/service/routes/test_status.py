import pytest

from service.app import create_app
from service.store.keys import Role
from tests.installations import finished_scan, opened, waiting_scan
from tests.serving import served


def test_a_scan_is_told_as_it_is_stored(client, installation):
    finished = finished_scan(installation, 1)
    waiting = waiting_scan(installation, 2, accession="A-1")
    for scan_id in (finished, waiting):
        answer = client.get(f"/v1/scans/{scan_id}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == installation.scans.get(scan_id).model_dump_json().encode()
    assert client.get(f"/v1/scans/{waiting}").json()["queue_position"] == 1


def test_a_cancelled_scan_is_told_at_once(client, installation):
    scan_id = waiting_scan(installation)
    assert client.get(f"/v1/scans/{scan_id}").json()["state"] == "queued"
    assert client.post(f"/v1/scans/{scan_id}/cancel").status_code == 200
    assert client.get(f"/v1/scans/{scan_id}").json()["state"] == "cancelled"


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic abc", "Bearer"])
def test_without_a_valid_key_no_status_is_told(installation, header):
    scan_id = waiting_scan(installation)
    headers = {} if header is None else {"Authorization": header}
    with served(create_app(installation.settings), headers) as client:
        for name in (scan_id, "nobody"):
            answer = client.get(f"/v1/scans/{name}")
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("name", ["a" * 65, "%C3%A9", "a.b", "a%0A"])
def test_a_name_that_no_scan_can_have_is_refused_by_its_signature(client, name):
    answer = client.get(f"/v1/scans/{name}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0].startswith("path.scan_id:")


def test_the_longest_name_is_looked_up(client):
    assert client.get(f"/v1/scans/{'a' * 64}").status_code == 404


def test_another_method_is_told_what_the_address_takes(client):
    answer = client.put("/v1/scans/abc")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, DELETE")


def test_polls_count_against_the_rate(queue, tmp_path):
    with opened(tmp_path / "d", queue.url) as installation:
        scan_id = waiting_scan(installation)
        _, secret = installation.keys.create("k", frozenset({Role.READ}), rate_per_minute=60)
        headers = {"Authorization": f"Bearer {secret}"}
        with served(create_app(installation.settings), headers) as client:
            statuses = [client.get(f"/v1/scans/{scan_id}").status_code for _ in range(12)]
            answer = client.get(f"/v1/scans/{scan_id}")
    assert statuses[:10] == [200] * 10
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_polls_are_counted_under_their_route(client, installation):
    client.get(f"/v1/scans/{waiting_scan(installation)}")
    line = 'smearscan_http_requests_total{method="GET",route="/v1/scans/{scan_id}",status="200"}'
    assert line in client.get("/metrics").text


def test_the_interface_describes_it(client):
    described = client.get("/v1/openapi.json").json()["paths"]["/v1/scans/{scan_id}"]["get"]
    assert described["security"] == [{"ApiKey": []}]
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Scan"}
    assert {"401", "403", "404", "422", "429", "503"} <= described["responses"].keys()
