"""The client over httpx's own seam: what a viewer may answer, and what it may not."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from service.contract.viewing import (
    STATUS,
    SlideReference,
    TileRequest,
    ViewingCode,
    ViewingProblem,
)
from service.viewer_client import (
    ERRORS,
    MAX_ANSWER_BYTES,
    PixelsUnreadable,
    ViewerClient,
    ViewerError,
    ViewerUnavailable,
)

SLIDE = SlideReference(path="/slides/of/Mrs-Miller.tiff", sha256="0" * 64)


def fetch_from(answer: Callable[[httpx.Request], httpx.Response]) -> bytes:
    async def run() -> bytes:
        async with ViewerClient("http://viewer", httpx.MockTransport(answer)) as client:
            return await client.fetch_tile(SLIDE, 3, 1, 2)

    return asyncio.run(run())


def failure_from(answer: Callable[[httpx.Request], httpx.Response]) -> ViewerError:
    with pytest.raises(ViewerError) as caught:
        fetch_from(answer)
    assert "Miller" not in str(caught.value)
    return caught.value


def test_the_slide_is_named_in_the_body_and_never_in_the_address():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/tile"
        assert not request.url.query
        asked = TileRequest.model_validate_json(request.content)
        assert asked == TileRequest(slide=SLIDE, level=3, column=1, row=2)
        return httpx.Response(200, content=b"pixels")

    assert fetch_from(answer) == b"pixels"


@pytest.mark.parametrize("code", ViewingCode)
def test_every_code_of_the_viewer_has_an_error_and_a_status(code):
    problem = ViewingProblem(code=code, message="why", retry_after_s=7)
    err = failure_from(
        lambda request: httpx.Response(STATUS[code], content=problem.model_dump_json())
    )
    assert type(err) is ERRORS[code]
    assert (str(err), err.retry_after_s) == ("why", 7)


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_an_answer_has_a_largest_size(extra, fits):
    body = b"x" * (MAX_ANSWER_BYTES + extra)
    if fits:
        assert fetch_from(lambda request: httpx.Response(200, content=body)) == body
    else:
        err = failure_from(lambda request: httpx.Response(200, content=body))
        assert isinstance(err, ViewerUnavailable)


@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout]
)
def test_a_viewer_that_does_not_answer_is_unavailable_for_now(kind):
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind("/run/viewer.sock of Mrs Miller")

    err = failure_from(answer)
    assert isinstance(err, ViewerUnavailable)
    assert err.retry_after_s


def test_a_stranger_at_the_viewers_address_is_found_out():
    err = failure_from(lambda request: httpx.Response(404, content=b"<html>nginx</html>"))
    assert isinstance(err, ViewerUnavailable)
    assert "viewer_url" in str(err)


def test_errors_tell_what_helps_from_what_does_not():
    assert not issubclass(PixelsUnreadable, ViewerUnavailable)
    retryable = {code for code in ViewingCode if STATUS[code] == 503}
    assert {ERRORS[code].__name__ for code in retryable} == {
        "ViewerUnavailable",
        "TileUnavailable",
        "ModelUnavailable",
    }
