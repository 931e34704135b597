import queue
import threading
from collections import Counter

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from benchmarks.bench_load import summarise
from benchmarks.load_clients import Outcome, poll_status, read_answer, upload
from tests.serving import served

ANSWER = b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno"


@pytest.fixture
def app():
    """Takes slides at the second try, and answers polls."""
    app, taken = FastAPI(), []

    @app.post("/v1/scans")
    async def _take(request: Request) -> Response:
        async with request.form() as form:
            taken.append(await form["slide"].read())
        if len(taken) == 1:
            return Response(status_code=503, headers={"Retry-After": "0"})
        return Response(status_code=202)

    @app.get("/v1/scans/{name}")
    async def _tell(name: str, request: Request) -> Response:
        if request.headers["authorization"] != "Bearer k" or name != "s":
            return Response(status_code=401)
        return Response(b"x" * 1000)

    app.state.taken = taken
    return app


def address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 0


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_an_answer_is_read_once_it_is_whole(length):
    assert read_answer(ANSWER[:length]) is None
    assert read_answer(ANSWER) == (429, True)


def test_a_slide_arrives_whole_and_again_when_asked_to(app, tmp_path):
    rest = tmp_path / "rest"
    rest.write_bytes(b"rest" * 100_000)
    with served(app) as client:
        outcome = upload(address(client), b"beginning ", rest, "k")
    assert outcome.statuses == {503: 1, 202: 1}
    assert app.state.taken == [b"beginning " + b"rest" * 100_000] * 2


def test_an_upload_that_nobody_takes_is_an_error(tmp_path):
    rest = tmp_path / "rest"
    rest.write_bytes(b"x")
    assert upload(("127.0.0.1", 1), b"a", rest, "k").statuses == {0: 1}


@pytest.mark.parametrize(("scan_id", "status"), [("s", 200), ("other", 401)])
def test_every_poll_is_answered_or_counted(app, scan_id, status):
    results: queue.Queue[Outcome] = queue.Queue()
    stop = threading.Event()
    with served(app) as client:
        arguments = (address(client), scan_id, "k", 200.0, 3, stop, results)
        poller = threading.Thread(target=poll_status, args=arguments)
        poller.start()
        stop.wait(0.5)
        stop.set()
        poller.join()
    outcome = results.get_nowait()
    assert outcome.statuses == {status: len(outcome.polls)}
    assert outcome.statuses[status] > 0
    assert all(took > 0 for _, took in outcome.polls)


def test_figures_are_of_the_time_of_the_uploads_alone():
    polls = [(9.0, 5.0), (10.0, 0.001), (11.0, 0.003), (11.9, 4.0), (12.0, 7.0)]
    figures = summarise(Outcome(Counter({200: 5}), polls), 10.0, 12.0)
    assert figures["polls_per_s"] == 1.0  # answered at 10.001 and 11.003
    assert (figures["status_p50_ms"], figures["status_max_ms"]) == (3.0, 4000.0)
