from datetime import timedelta

import pytest

from service.app import create_app
from service.store.columns import now
from service.store.keys import Role
from tests.installations import finished_scan, key_of, opened
from tests.serving import served


@pytest.fixture
def anybody(installation):
    with served(create_app(installation.settings)) as client:
        yield client


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic abc", "Bearer"])
def test_without_a_valid_key_nothing_is_told(anybody, header):
    headers = {} if header is None else {"Authorization": header}
    answer = anybody.get("/v1/scans", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("seconds", "status"), [(60, 200), (-1, 401)])
def test_a_key_opens_until_it_expires(anybody, installation, seconds, status):
    moment = now() + timedelta(seconds=seconds)
    _, secret = installation.keys.create("k", frozenset({Role.READ}), expires_at=moment)
    headers = {"Authorization": f"Bearer {secret}"}
    assert anybody.get("/v1/scans", headers=headers).status_code == status


def test_a_revoked_key_opens_nothing(anybody, installation):
    key, secret = installation.keys.create("k", frozenset({Role.READ}))
    assert installation.keys.revoke(key.id)
    headers = {"Authorization": f"Bearer {secret}"}
    assert anybody.get("/v1/scans", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/scans", Role.READ),
        ("GET", "/v1/scans/{id}", Role.READ),
        ("GET", "/v1/scans/{id}/report", Role.READ),
        ("GET", "/v1/scans/{id}/cells", Role.READ),
        ("PUT", "/v1/scans/{id}/cells/1/review", Role.REVIEW),
        ("POST", "/v1/scans", Role.SUBMIT),
        ("POST", "/v1/uploads", Role.SUBMIT),
        ("POST", "/v1/scans/{id}/cancel", Role.SUBMIT),
        ("DELETE", "/v1/scans/{id}", Role.ADMIN),
    ],
)
def test_each_call_takes_its_role(anybody, installation, method, path, needed):
    path = path.format(id=finished_scan(installation))
    for role in Role:
        answer = anybody.request(method, path, headers=key_of(installation, role), json={})
        allowed = role in {needed, Role.ADMIN}
        assert (answer.status_code == 403) is not allowed, role


def test_the_secret_is_stored_nowhere(installation):
    _, secret = installation.keys.create("k", frozenset({Role.READ}))
    installation.engine.dispose()
    for path in installation.layout.path.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_a_key_that_asks_too_often_is_told_to_wait(queue, tmp_path):
    with opened(tmp_path / "d", queue.url) as installation:
        _, secret = installation.keys.create("k", frozenset({Role.READ}), rate_per_minute=60)
        headers = {"Authorization": f"Bearer {secret}"}
        with served(create_app(installation.settings), headers) as client:
            statuses = [client.get("/v1/scans").status_code for _ in range(12)]
            answer = client.get("/v1/scans")
    assert statuses[:10] == [200] * 10
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "1"


def test_every_answer_is_named_and_guarded(anybody):
    answer = anybody.get("/healthz", headers={"X-Request-ID": "lis-7"})
    assert answer.headers["x-request-id"] == "lis-7"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    odd = anybody.get("/healthz", headers={"X-Request-ID": "a b\tc"})
    assert odd.headers["x-request-id"] != "a b\tc"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(client, installation, declared):
    size = installation.settings.max_body_bytes + 1
    body = b"x" * size if declared else (b"x" * 65_536 for _ in range(size // 65_536 + 1))
    answer = client.post("/v1/scans", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/scans/nobody", "/"])
def test_an_unknown_place_is_a_problem_document(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
