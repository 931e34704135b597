import csv
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.batches import BatchFeeder
from service.contract.batch import BatchRequest
from service.installation import Installation
from service.routes.batches import _EXAMPLES
from service.store.engine import migrate
from service.store.keys import Role
from tests.batches import run_to_end, running_installation, write_slides
from tests.serving import served

ALL = (Role.SUBMIT, Role.READ)


@dataclass(frozen=True)
class Front:
    """A running app, and the installation behind it."""

    installation: Installation
    archive: Path
    client_of: Callable[..., httpx.Client]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """An app on SQLite with a slide root; clients have a key of the given roles."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrate(url)
    archive = tmp_path / "archive"
    archive.mkdir()
    with ExitStack() as stack:
        enter = stack.enter_context
        installation = enter(running_installation(tmp_path, url, archive=archive))
        app = enter(served(create_app(installation.settings)))

        def client_of(*roles: Role) -> httpx.Client:
            _, secret = installation.keys.create("test", frozenset(roles))
            headers = {"Authorization": f"Bearer {secret}"}
            return enter(httpx.Client(base_url=app.base_url, headers=headers, trust_env=False))

        yield Front(installation, archive, client_of)


def post(front, client=None, **request):
    client = client or front.client_of(*ALL)
    return client.post("/v1/batches", json={"name": "x", "roots": [str(front.archive)], **request})


def test_a_batch_is_accepted_and_found_under_its_location(front):
    client = front.client_of(*ALL)
    answer = post(front, client)
    assert answer.status_code == 202
    found = client.get(answer.headers["location"])
    assert found.json() == answer.json()
    assert found.json()["state"] == "listing"
    assert client.get("/v1/batches").json()["batches"] == [found.json()]


def test_the_same_request_finds_the_unfinished_batch(front):
    first = post(front)
    again = post(front)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"roots": []}, 422),
        ({"colour": "red"}, 422),
        ({"parameters": {"um_per_px": 0.019}}, 422),
        ({"parameters": {"um_per_px": 0.02}}, 202),
        ({"name": ""}, 422),
        ({"roots": ["/etc\u0000"]}, 422),
        ({"roots": [], "manifest": "slide_uri\n"}, 202),
    ],
)
def test_requests_are_as_described_or_refused(front, request_, status):
    answer = post(front, **request_)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({"roots": ["/etc"]}, "roots.0"),
        ({"roots": ["{}/missing"]}, "roots.0"),
        ({"roots": ["{}", "{}/../x"]}, "roots.1"),
        ({"globs": ["/**/*.svs"]}, "globs.0"),
        ({"manifest_uri": "{}"}, "manifest_uri"),
    ],
)
def test_sources_that_cannot_be_used_are_refused_by_name(front, request_, names):
    filled = {
        key: [v.format(front.archive) for v in value]
        if isinstance(value, list)
        else value.format(front.archive)
        for key, value in request_.items()
    }
    answer = post(front, **filled)
    assert (answer.status_code, answer.json()["code"]) == (422, "slide_uri_forbidden")
    assert answer.json()["detail"].startswith(names)
    assert str(front.archive) not in answer.text


def test_a_manifest_with_another_header_is_refused(front):
    answer = post(front, manifest="path\n/a\n")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["detail"].startswith("manifest: the header")


def test_an_unknown_model_is_refused_before_anything_is_promised(front):
    answer = post(front, parameters={"model": "large"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")
    assert front.client_of(Role.READ).get("/v1/batches").json()["batches"] == []


def test_pause_resume_and_cancel_follow_one_another(front):
    client = front.client_of(*ALL)
    url = post(front, client).headers["location"]
    assert client.post(f"{url}/pause").json()["state"] == "paused"
    assert client.post(f"{url}/pause").json()["state"] == "paused"
    assert client.post(f"{url}/resume").json()["state"] == "listing"
    assert client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{url}/cancel").status_code == 200
    for change in ("pause", "resume"):
        answer = client.post(f"{url}/{change}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("path", ["", "/items", "/summary.csv", "/pause", "/resume", "/cancel"])
def test_there_is_no_batch_of_another_name(front, path):
    method = "POST" if path in {"/pause", "/resume", "/cancel"} else "GET"
    answer = front.client_of(*ALL).request(method, f"/v1/batches/0{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_changes_take_the_role_submit_and_looking_the_role_read(front):
    reader, submitter = front.client_of(Role.READ), front.client_of(Role.SUBMIT)
    assert post(front, reader).status_code == 403
    url = post(front, submitter).headers["location"]
    for change in ("pause", "resume", "cancel"):
        assert reader.post(f"{url}/{change}").status_code == 403
        assert submitter.post(f"{url}/{change}").status_code == 200 or change != "cancel"
    for path in ("", "/items", "/summary.csv"):
        assert submitter.get(url + path).status_code == 403
        assert reader.get(url + path).status_code == 200


def test_items_come_in_parts_and_by_state(front):
    client = front.client_of(*ALL)
    manifest = "slide_uri,um_per_px\n" + "".join(f"/{n}.svs,\n" for n in range(5)) + "/bad.svs,0\n"
    url = post(front, client, roots=[], manifest=manifest).headers["location"] + "/items"
    first = client.get(url, params={"limit": 4}).json()
    rest = client.get(url, params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert [item["number"] for item in first["items"] + rest["items"]] == [1, 2, 3, 4, 5, 6]
    assert rest["next_cursor"] is None
    (failed,) = client.get(url, params={"state": "failed"}).json()["items"]
    assert failed["failure"]["code"] == "resolution_unsupported"
    assert client.get(url, params={"cursor": "x"}).status_code == 422


def test_the_summary_is_a_table_to_download(front):
    write_slides(front.archive, ["a.svs", "b.svs"])
    client = front.client_of(*ALL)
    answer = post(front, client)
    batch = front.installation.batches.get(answer.json()["batch_id"])
    run_to_end(front.installation, BatchFeeder(front.installation), batch, fail=["b.svs"])
    table = client.get(answer.headers["location"] + "/summary.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    states = [row["state"] for row in csv.DictReader(io.StringIO(table.text, newline=""))]
    assert states == ["succeeded", "failed"]
    ended = client.get(answer.headers["location"]).json()
    assert (ended["state"], ended["progress"]) == ("done", {"done": 2, "total": 2})


def test_who_asked_and_who_changed_is_remembered(front):
    client = front.client_of(*ALL)
    url = post(front, client).headers["location"]
    client.post(f"{url}/pause")
    client.get(f"{url}/summary.csv")
    entries = [(e.action, e.detail["batch_id"]) for e in front.installation.audit.entries()]
    batch_id = url.rsplit("/", 1)[1]
    assert entries == [
        ("batch_submitted", batch_id),
        ("batch_changed", batch_id),
        ("read_report", batch_id),
    ]


@pytest.mark.parametrize("name", _EXAMPLES)
def test_the_examples_of_the_interface_are_requests(name):
    BatchRequest.model_validate(_EXAMPLES[name]["value"])


def test_every_status_above_is_in_the_interface(front):
    paths = front.client_of().get("/v1/openapi.json").json()["paths"]
    assert {"200", "202", "400", "401", "403", "413", "422", "429"} <= set(
        paths["/v1/batches"]["post"]["responses"]
    )
    assert {"404", "409"} <= set(paths["/v1/batches/{batch_id}/pause"]["post"]["responses"])
