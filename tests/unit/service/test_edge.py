import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request

from service.edge import Edge

LIMIT = 10


def call(inner, chunks=(b"",), *, headers=(), path="/x", uploads=False, route=None):
    """What a client is answered, message by message, and what came through to the inside."""
    sent: list[dict[str, Any]] = []
    pieces = list(chunks)

    async def receive():
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in headers],
        "query_string": b"",
        "state": {},
        "route": route,
    }
    edge = Edge(inner, max_body_bytes=LIMIT, takes_uploads=lambda request: uploads)
    asyncio.run(edge(scope, receive, send))
    return sent


async def echo(scope, receive, send):
    """Answers with how much it was sent."""
    body = await Request(scope, receive).body()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_a_body_may_be_so_large_however_it_is_sent(declared, size, status):
    headers = [("content-length", str(size))] if declared else []
    chunks = [b"x" * 4, b"x" * (size - 4)]
    sent = call(echo, chunks, headers=headers)
    assert sent[0]["status"] == status


def test_an_upload_has_limits_of_its_own():
    sent = call(echo, [b"x" * 1000], uploads=True)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"1000")


def test_a_length_that_is_no_number_is_not_believed():
    assert call(echo, [b"x" * 11], headers=[("content-length", "-5")])[0]["status"] == 413


def test_what_was_answered_already_is_not_answered_twice():
    async def hasty(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    sent = call(hasty, [b"x" * 11])
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_a_route_may_say_otherwise_than_the_edge():
    async def cached(scope, receive, send):
        headers = [(b"Cache-Control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    headers = call(cached)[0]["headers"]
    assert [v for k, v in headers if k.lower() == b"cache-control"] == [b"max-age=60"]
    assert (b"x-frame-options", b"DENY") in headers


@pytest.mark.parametrize(("name", "kept"), [("lis-7", True), ("x" * 64, True), ("x" * 65, False)])
def test_a_clients_name_for_its_request_is_kept_if_it_is_harmless(name, kept):
    headers = dict(call(echo, headers=[("x-request-id", name)])[0]["headers"])
    assert (headers[b"x-request-id"] == name.encode()) is kept


def test_unknown_paths_do_not_grow_the_metrics():
    def series():
        return sum(len(metric.samples) for metric in REGISTRY.collect())

    call(echo, path="/first")
    before = series()
    for number in range(20):
        call(echo, path=f"/{number}")
    assert series() == before


def test_a_failure_inside_is_counted_and_goes_on():
    async def broken(scope, receive, send):
        raise ValueError("inside")

    def count():
        labels = {"method": "(any)", "route": "(none)", "status": "499"}
        return REGISTRY.get_sample_value("smearscan_http_requests_total", labels) or 0

    before = count()
    with pytest.raises(ValueError, match="inside"):
        call(broken)
    assert count() == before + 1


def test_what_is_not_http_is_left_alone():
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope)

    edge = Edge(inner, max_body_bytes=LIMIT, takes_uploads=lambda request: False)
    asyncio.run(edge({"type": "lifespan"}, None, None))
    assert seen == [{"type": "lifespan"}]
