"""Resumable uploads over real HTTP, and the death of the server in the middle."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.intake.conftest import Server, http, wait_until
from tests.slide_bytes import slide_bytes

pytestmark = pytest.mark.integration

Serve = Callable[..., Server]
SLIDE = slide_bytes(600_000)
SHA256 = hashlib.sha256(SLIDE).hexdigest()
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def create(server: Server, length: int = len(SLIDE), **headers: str) -> str:
    """The URL of a new upload."""
    sent = {**TUS, "Upload-Length": str(length), **headers}
    answer = http.post(f"{server.url}/v1/uploads", headers=sent)
    assert answer.status_code == 201, answer.text
    return server.url + answer.headers["Location"]


def patch(
    url: str, offset: int, content: bytes | Iterator[bytes], **headers: str
) -> httpx.Response:
    sent = {**PIECE, "Upload-Offset": str(offset), **headers}
    return http.patch(url, headers=sent, content=content, timeout=60)


def offset_of(url: str) -> int:
    return int(http.head(url, headers=TUS).headers["Upload-Offset"])


def find(server: Server, url: str) -> httpx.Response:
    return http.get(f"{server.url}/uploads/{url.rpartition('/')[2]}")


def begin_patch(server: Server, url: str, offset: int, content: bytes, length: int) -> object:
    """A connection that has sent a part of a piece."""
    connection = server.connect()
    head = (
        f"PATCH {url.removeprefix(server.url)} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
        f"Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def test_the_server_says_what_it_can_do(serve: Serve) -> None:
    answer = http.options(f"{serve(max_slide_bytes=12345).url}/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "12345"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256,sha1"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "expiration",
        "termination",
        "checksum",
    }


def test_a_slide_in_pieces_is_stored_and_found(serve: Serve) -> None:
    server = serve()
    url = create(server, **{"Upload-Metadata": "filename YS5zdnM="})
    for start in range(0, len(SLIDE), 250_000):
        answer = patch(url, start, SLIDE[start : start + 250_000])
        assert answer.status_code == 204
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert "Upload-Expires" in answer.headers
    state = http.head(url, headers=TUS)
    assert state.headers["Upload-Offset"] == state.headers["Upload-Length"] == str(len(SLIDE))
    assert state.headers["Upload-Metadata"] == "filename YS5zdnM="
    assert state.headers["Cache-Control"] == "no-store"
    assert find(server, url).json() == {"sha256": SHA256, "size_bytes": len(SLIDE)}
    assert server.root.slide_of(SHA256).read_bytes() == SLIDE


def test_an_upload_may_bring_its_first_piece_along(serve: Serve) -> None:
    server = serve()
    headers = {**PIECE, "Upload-Length": str(len(SLIDE))}
    answer = http.post(f"{server.url}/v1/uploads", headers=headers, content=SLIDE[:1000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "1000")
    url = server.url + answer.headers["Location"]
    assert patch(url, 1000, SLIDE[1000:]).status_code == 204
    assert find(server, url).json()["sha256"] == SHA256


@pytest.mark.parametrize("arrived", [1000, 300_000])
def test_a_server_that_is_killed_goes_on_where_it_was(serve: Serve, arrived: int) -> None:
    server = serve(block_bytes=1000)
    url = create(server)
    with begin_patch(server, url, 0, SLIDE[:arrived], len(SLIDE)):  # type: ignore[attr-defined]
        wait_until(lambda: offset_of(url) >= max(1, arrived - 1000))
        server.kill()
    server.start()
    offset = offset_of(url)
    assert 0 < offset <= arrived
    assert patch(url, offset, SLIDE[offset:]).status_code == 204
    assert find(server, url).json()["sha256"] == SHA256
    assert server.root.slide_of(SHA256).read_bytes() == SLIDE


def test_a_checked_piece_in_a_server_that_is_killed_does_not_count(serve: Serve) -> None:
    server = serve(block_bytes=1000)
    url = create(server)
    assert patch(url, 0, SLIDE[:5000]).status_code == 204
    digest = base64.b64encode(hashlib.sha256(SLIDE[5000:]).digest()).decode()
    headers = {**PIECE, "Upload-Offset": "5000", "Upload-Checksum": f"sha256 {digest}"}
    path = server.root.uploads / f"{url.rpartition('/')[2]}.tus"

    def halted() -> Iterator[bytes]:
        yield SLIDE[5000:300_000]
        wait_until(lambda: path.stat().st_size > 200_000)
        server.kill()
        yield SLIDE[300_000:]

    with pytest.raises(httpx.TransportError):
        http.patch(url, headers=headers, content=halted(), timeout=60)
    server.start()
    assert path.stat().st_size > 200_000
    assert offset_of(url) == 5000
    assert http.patch(url, headers=headers, content=SLIDE[5000:]).status_code == 204
    assert find(server, url).json()["sha256"] == SHA256


def test_a_connection_that_breaks_keeps_what_arrived(serve: Serve) -> None:
    server = serve()
    url = create(server)
    with begin_patch(server, url, 0, SLIDE[:100_000], len(SLIDE)):  # type: ignore[attr-defined]
        pass
    wait_until(lambda: offset_of(url) == 100_000)
    wait_until(lambda: patch(url, 100_000, SLIDE[100_000:]).status_code == 204)
    assert find(server, url).json()["sha256"] == SHA256


def test_while_one_writes_another_is_turned_away(serve: Serve) -> None:
    server = serve(block_bytes=1000)
    url = create(server)
    with begin_patch(server, url, 0, SLIDE[:1000], len(SLIDE)) as first:  # type: ignore[attr-defined]
        wait_until(lambda: offset_of(url) == 1000)
        assert patch(url, 1000, SLIDE[1000:]).status_code == 423
        assert patch(url, 0, SLIDE).status_code == 409
        assert http.delete(url, headers=TUS).status_code == 423
        first.sendall(SLIDE[1000:])
        assert first.recv(65536).startswith(b"HTTP/1.1 204")
    assert find(server, url).json()["sha256"] == SHA256


def test_of_ten_that_send_the_same_piece_one_wins(serve: Serve) -> None:
    server = serve()
    url = create(server)
    with ThreadPoolExecutor(10) as clients:
        statuses = list(clients.map(lambda _: patch(url, 0, SLIDE).status_code, range(10)))
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 409, 423}
    assert find(server, url).json()["sha256"] == SHA256
    assert len(server.slides) == 1


def test_a_damaged_piece_is_answered_460_and_may_be_sent_again(serve: Serve) -> None:
    server = serve()
    url = create(server)
    digest = base64.b64encode(hashlib.sha1(SLIDE).digest()).decode()
    damaged = patch(url, 0, SLIDE[:-1] + b"!", **{"Upload-Checksum": f"sha1 {digest}"})
    assert (damaged.status_code, offset_of(url)) == (460, 0)
    assert patch(url, 0, SLIDE, **{"Upload-Checksum": f"sha1 {digest}"}).status_code == 204
    assert find(server, url).json()["sha256"] == SHA256


def test_an_upload_that_is_given_up_is_gone(serve: Serve) -> None:
    server = serve()
    url = create(server)
    patch(url, 0, SLIDE[:1000])
    assert http.delete(url, headers=TUS).status_code == 204
    assert http.head(url, headers=TUS).status_code == 404
    assert patch(url, 1000, b"x").status_code == 404
    assert server.open_uploads == []


def test_clients_that_cannot_patch_may_post(serve: Serve) -> None:
    server = serve()
    url = create(server)
    headers = {**PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert http.post(url, headers=headers, content=SLIDE).status_code == 204
    headers = {**TUS, "X-HTTP-Method-Override": "DELETE"}
    assert http.post(url, headers=headers).status_code == 204
    assert http.post(url, headers=TUS).status_code == 400
    assert server.slides == [SHA256]


def test_a_key_with_too_many_unfinished_uploads_is_told_so(serve: Serve) -> None:
    server = serve(max_unfinished=1)
    first = create(server)
    headers = {**TUS, "Upload-Length": str(len(SLIDE))}
    refused = http.post(f"{server.url}/v1/uploads", headers=headers)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["Tus-Resumable"] == "1.0.0"
    assert patch(first, 0, SLIDE).status_code == 204
    create(server)


def test_an_upload_of_another_key_is_not_there(serve: Serve) -> None:
    server = serve()
    url = create(server)
    other = {"Authorization": "key-2"}
    assert http.head(url, headers={**TUS, **other}).status_code == 404
    assert patch(url, 0, SLIDE, **other).status_code == 404
    assert http.delete(url, headers={**TUS, **other}).status_code == 404
    assert offset_of(url) == 0


def test_an_upload_that_expired_is_gone(serve: Serve) -> None:
    server = serve(expires_s=0.01)
    sent = {**TUS, "Upload-Length": "1000"}
    answer = http.post(f"{server.url}/v1/uploads", headers=sent)
    assert answer.status_code in (201, 410)
    (name, *_) = {path.stem for path in server.root.uploads.iterdir()}
    wait_until(lambda: http.head(f"{server.url}/v1/uploads/{name}", headers=TUS).status_code == 410)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "10"}, 412),
        ({**TUS}, 400),
        ({**TUS, "Upload-Length": "-1"}, 400),
        ({**TUS, "Upload-Length": "10", "Upload-Metadata": "a ?"}, 400),
        ({**TUS, "Upload-Defer-Length": "1"}, 400),
        ({**TUS, "Upload-Length": "10", "Upload-Concat": "partial"}, 400),
        ({**TUS, "Upload-Length": "0"}, 415),
        ({**TUS, "Upload-Length": "1001"}, 413),
        ({**TUS, "Upload-Length": "1000"}, 201),
    ],
)
def test_what_cannot_be_created_is_the_clients_mistake(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    server = serve(max_slide_bytes=1000)
    answer = http.post(f"{server.url}/v1/uploads", headers=headers)
    assert answer.status_code == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert len(server.open_uploads) == (2 if status == 201 else 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "x"}, 400),
        ({"Content-Type": "text/plain"}, 415),
        ({"Tus-Resumable": "2.0.0"}, 412),
        ({"Upload-Checksum": "crc32 AAAA"}, 400),
        ({"Content-Encoding": "gzip"}, 400),
        ({"Upload-Offset": "1"}, 409),
    ],
)
def test_a_piece_that_is_none_is_the_clients_mistake(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    server = serve()
    url = create(server)
    assert patch(url, 0, b"II*\0", **headers).status_code == status
    assert offset_of(url) == 0


def test_what_is_not_a_slide_ends_the_upload(serve: Serve) -> None:
    server = serve()
    url = create(server)
    answer = patch(url, 0, b"%PDF-1.7" + bytes(1000))
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_format")
    assert http.head(url, headers=TUS).status_code == 404
    assert server.open_uploads == []


def test_a_scan_of_an_unfinished_upload_is_told_how_much_is_missing(serve: Serve) -> None:
    server = serve()
    url = create(server)
    patch(url, 0, SLIDE[:1000])
    answer = find(server, url)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_unfinished")
