"""Uploads to a real server, by clients that behave and by others."""

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.intake.conftest import Server, http, wait_until
from tests.slide_bytes import slide_bytes

pytestmark = pytest.mark.integration

Serve = Callable[..., Server]
SLIDE = slide_bytes(300_000)
HEAD = b'--B\r\nContent-Disposition: form-data; name="slide"; filename="a.svs"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"


def post(server: Server, slide: bytes = SLIDE, **others: object) -> httpx.Response:
    files = {"slide": ("a.svs", slide), **others}
    return http.post(f"{server.url}/slides", files=files, timeout=120)  # type: ignore[arg-type]


def raw_request(length: str, body: bytes = b"") -> bytes:
    """A request with a Content-Length of one's own making."""
    head = (
        "POST /slides HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        f"{length}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def exchange(server: Server, request: bytes, *, shut: bool = False) -> bytes:
    """Everything the server says to a request."""
    with server.connect() as connection:
        connection.sendall(request)
        if shut:
            connection.shutdown(1)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_slide_is_stored_under_its_hash_and_told(serve: Serve) -> None:
    server = serve()
    answer = post(server, metadata=(None, '{"accession": "1"}'))
    assert answer.status_code == 200
    assert answer.json() == {
        "sha256": hashlib.sha256(SLIDE).hexdigest(),
        "size_bytes": len(SLIDE),
        "already_stored": False,
        "metadata": '{"accession": "1"}',
        "filename": "a.svs",
    }
    assert post(server).json()["already_stored"]
    assert server.slides == [hashlib.sha256(SLIDE).hexdigest()]
    assert server.open_uploads == []


def test_the_same_slide_twenty_times_at_once_is_stored_once(serve: Serve) -> None:
    server = serve()
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: post(server), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(server.slides) == 1
    assert (server.root.slides / server.slides[0][:2] / server.slides[0]).read_bytes() == SLIDE
    assert server.open_uploads == []


def test_curl_sends_a_slide(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "slide.svs").write_bytes(SLIDE)
    command = ["curl", "-sS", "-F", f"slide=@{tmp_path}/slide.svs", "-F", "metadata={}"]
    try:
        done = subprocess.run([*command, f"{server.url}/slides"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    assert hashlib.sha256(SLIDE).hexdigest().encode() in done.stdout


def test_a_slide_of_unknown_length_is_taken(serve: Serve) -> None:
    server = serve()

    def body() -> Iterator[bytes]:
        yield HEAD
        yield SLIDE
        yield TAIL

    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = http.post(f"{server.url}/slides", content=body(), headers=headers)
    assert answer.json()["sha256"] == hashlib.sha256(SLIDE).hexdigest()


@pytest.mark.parametrize(
    ("slide", "status", "code"),
    [
        (b"%PDF-1.7" + bytes(100_000), 415, "unsupported_format"),
        (b"", 415, "unsupported_format"),
        (slide_bytes(500_001), 413, "slide_too_large"),
        (slide_bytes(700_000), 413, "slide_too_large"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    serve: Serve, slide: bytes, status: int, code: str
) -> None:
    server = serve(max_slide_bytes=500_000)
    answer = post(server, slide)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert server.open_uploads == []
    assert server.slides == []
    assert post(server, slide_bytes(500_000)).status_code == 200


def test_a_content_length_beyond_the_limit_is_refused_before_a_byte_is_read(serve: Serve) -> None:
    server = serve(max_slide_bytes=500_000)
    answer = exchange(server, raw_request("Content-Length: 99999999999\r\n"))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"slide_too_large" in answer


def test_a_content_length_beyond_the_disk_is_refused_before_a_byte_is_read(serve: Serve) -> None:
    server = serve(max_slide_bytes=1 << 62)
    answer = exchange(server, raw_request(f"Content-Length: {1 << 60}\r\n"))
    assert answer.startswith(b"HTTP/1.1 507")
    assert b"storage_full" in answer
    assert server.open_uploads == []


def test_a_content_length_shorter_than_the_form_is_a_form_without_its_end(serve: Serve) -> None:
    server = serve()
    length = f"Content-Length: {len(HEAD) + 1000}\r\n"
    answer = exchange(server, raw_request(length, HEAD + SLIDE[:1000]))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"malformed_upload" in answer
    assert server.open_uploads == []
    assert server.slides == []


@pytest.mark.parametrize("sent", [0, 1000, 200_000])
def test_a_connection_that_breaks_leaves_nothing_behind(serve: Serve, sent: int) -> None:
    server = serve()
    with server.connect() as connection:
        connection.sendall(raw_request("Content-Length: 1000000\r\n", HEAD + SLIDE[:sent]))
        wait_until(lambda: len(server.open_uploads) == 1)
    wait_until(lambda: server.open_uploads == [])
    assert server.slides == []
    assert post(server).status_code == 200


def test_an_upload_that_stalls_is_given_up(serve: Serve) -> None:
    server = serve(stall_s=0.2)
    answer = exchange(server, raw_request("Content-Length: 1000000\r\n", HEAD + SLIDE[:1000]))
    assert answer.startswith(b"HTTP/1.1 408")
    assert server.open_uploads == []


def test_more_uploads_than_places_are_told_to_come_back(serve: Serve) -> None:
    server = serve(max_uploads=2)
    waiting = [server.connect(), server.connect()]
    for connection in waiting:
        connection.sendall(raw_request("Content-Length: 1000000\r\n", HEAD + SLIDE[:1000]))
    wait_until(lambda: len(server.open_uploads) == 2)
    refused = post(server)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    for connection in waiting:
        connection.close()
    wait_until(lambda: server.open_uploads == [])
    assert post(server).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=" + "b" * 500}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=B"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=B"}, b""),
        ({"Content-Type": "multipart/form-data; boundary=B"}, HEAD + SLIDE),
        ({"Content-Type": "multipart/form-data; boundary=B"}, HEAD + SLIDE + b"\r\n" + HEAD),
        ({"Content-Type": "multipart/form-data; boundary=B"}, b"--B\r\nX: " + b"a" * 1_000_000),
        (
            {"Content-Type": "multipart/form-data; boundary=B", "Content-Encoding": "gzip"},
            HEAD + SLIDE + TAIL,
        ),
    ],
)
def test_a_broken_form_is_the_clients_mistake(
    serve: Serve, headers: dict[str, str], body: bytes
) -> None:
    server = serve()
    answer = http.post(f"{server.url}/slides", headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_upload")
    assert server.open_uploads == []
    assert server.slides == []


def test_what_is_no_form_is_refused(serve: Serve) -> None:
    answer = http.post(f"{serve().url}/slides", json={})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.slow
def test_memory_stays_flat_over_300_megabytes(serve: Serve) -> None:
    server = serve()
    assert post(server).status_code == 200
    before = server.resident_bytes
    peak = before
    block = slide_bytes(1 << 20)

    def body() -> Iterator[bytes]:
        nonlocal peak
        yield HEAD
        for _ in range(300):
            yield block
            peak = max(peak, server.resident_bytes)
        yield TAIL

    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = http.post(f"{server.url}/slides", content=body(), headers=headers, timeout=300)
    assert answer.json()["size_bytes"] == 300 << 20
    assert peak - before < 50e6
