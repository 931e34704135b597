"""Requests that break what takes them at their word: each refused, none a 5xx. PostgreSQL refuses
U+0000 in text, so it is what they are sent against."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fuzzing import fuzzed
from tests.servers import Valkey, create_database, short_directory

pytestmark = pytest.mark.integration

REVIEW = "PUT /v1/scans/{scan}/cells/1/review"
ODD = {
    "a NUL in a comment": (REVIEW, rb'{"label":"BAS","comment":"\u0000"}', 422),
    "half a surrogate pair": (REVIEW, rb'{"label":"BAS","comment":"\ud800"}', 422),
    "half a surrogate pair as a name": (REVIEW, rb'{"\ud800":1}', 422),
    "no UTF-8": (REVIEW, b"\xff\xfe", 400),
    "a deep nest": (REVIEW, b"[" * 100_000, 400),
    "a number of 5,000 digits": (REVIEW, b"9" * 5000, 400),
    "NaN": (REVIEW, b'{"label":NaN}', 422),
    "a deep nest for a scan": ("POST /v1/scans", b"[" * 100_000, 400),
    "a number no float holds": (
        "POST /v1/scans",
        b'{"slide_uri":"/x","um_per_px":' + b"9" * 400 + b"}",
        422,
    ),
    "a NUL in a path": ("POST /v1/scans", rb'{"slide_uri":"/x\u0000"}', 422),
    "an open bracket for a host": ("POST /v1/scans", b'{"slide_uri":"file://["}', 422),
    "a NUL in a group's name": (
        "POST /v1/batches",
        rb"""{"name":"x","manifest":"slide_uri\n/a\n",
        "parameters":{"blasts":{"name":"a\u0000","classes":["MYO"]}}}""",
        422,
    ),
    "an open bracket for a root's host": (
        "POST /v1/batches",
        b'{"name":"x","roots":["file://["]}',
        422,
    ),
    "a NUL in a manifest": (
        "POST /v1/batches",
        rb'{"name":"x","manifest":"slide_uri\n/a\u0000\n"}',
        422,
    ),
    "a NUL in a query": ("GET /v1/scans?accession=%00", b"", 422),
    "a NUL in a cursor": ("GET /v1/scans?cursor=%00", b"", 422),
    "a NUL in a batch's cursor": ("GET /v1/batches?cursor=%00", b"", 422),
    "a NUL in a name": ("GET /v1/scans/%00", b"", 422),
    "a moment before the calendar": (
        "GET /v1/scans?submitted_from=0001-01-01T00:00:00%2B14:00",
        b"",
        422,
    ),
    "a moment after the calendar": (
        "GET /v1/scans?submitted_to=9999-12-31T23:59:59-14:00",
        b"",
        422,
    ),
    "the first moment of the calendar": (
        "GET /v1/scans?submitted_from=0001-01-01T00:00:00Z",
        b"",
        200,
    ),
    "the last moment of the calendar": (
        "GET /v1/scans?submitted_to=9999-12-31T23:59:59Z",
        b"",
        200,
    ),
    "a number for a moment": ("GET /v1/scans?submitted_to=0.5", b"", 422),
    "a moment without a zone": ("GET /v1/scans?submitted_to=2026-01-31T09:30:00", b"", 422),
    "a limit of 5,000 digits": (f"GET /v1/scans?limit={'9' * 5000}", b"", 422),
    "a slash too many": ("GET /v1/scans/", b"", 404),
}


@pytest.fixture(scope="module")
def client_and_scan(
    postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, str]]:
    """An administrator's client of an app on PostgreSQL, and the name of a finished scan."""
    database = create_database(postgresql)
    with short_directory() as directory:
        valkey = Valkey(directory)
        valkey.start()
        try:
            data = tmp_path_factory.mktemp("odd")
            with fuzzed(data, valkey.url, database_url=database) as (client, known):
                yield client, known.scans[0]
        finally:
            valkey.stop()


@pytest.mark.parametrize("what", ODD)
def test_an_odd_request_has_an_answer(client_and_scan: tuple[httpx.Client, str], what: str) -> None:
    client, scan_id = client_and_scan
    asked, body, status = ODD[what]
    method, address = asked.replace("{scan}", scan_id).split(" ")
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, address, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("/v1/scans", "GET, POST"),
        ("/v1/scans/0123", "GET, DELETE"),
        ("/v1/uploads/0123", "HEAD, POST, PATCH, DELETE"),
    ],
)
def test_a_method_that_is_not_taken_is_told_all_that_are(
    client_and_scan: tuple[httpx.Client, str], address: str, allowed: str
) -> None:
    client, _ = client_and_scan
    answer = client.put(address)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["code"] == "method_not_allowed"
