"""A disk that fills up: a small tmpfs, where this machine allows to mount one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.disks import mounted
from tests.integration.intake.conftest import Server, http
from tests.slide_bytes import slide_bytes

pytestmark = pytest.mark.integration

Serve = Callable[..., Server]
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with mounted(tmp_path / "disk", 8 * MIB) as disk:
        yield disk


def chunked(size: int) -> Iterator[bytes]:
    """A form of unknown length, so that the disk is found full only when it is."""
    yield b'--B\r\nContent-Disposition: form-data; name="slide"\r\n\r\n'
    block = slide_bytes(MIB)
    for start in range(0, size, MIB):
        yield block[: size - start]
    yield b"\r\n--B--\r\n"


def post(server: Server, size: int) -> httpx.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    return http.post(f"{server.url}/slides", content=chunked(size), headers=headers, timeout=60)


def test_an_upload_that_fills_the_disk_is_told_so_and_gives_the_space_back(
    serve: Serve, small_disk: Path
) -> None:
    server = serve(small_disk)
    answer = post(server, 20 * MIB)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert str(small_disk) not in answer.text
    assert server.open_uploads == []
    assert server.slides == []
    state = os.statvfs(small_disk)
    assert state.f_bavail * state.f_frsize > 7 * MIB
    assert post(server, 4 * MIB).status_code == 200


def test_space_that_must_stay_free_stays_free(serve: Serve, small_disk: Path) -> None:
    server = serve(small_disk, min_free_bytes=4 * MIB, check_space_bytes=MIB // 4)
    answer = post(server, 5 * MIB)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert server.open_uploads == []
    assert post(server, 3 * MIB).status_code == 200


def test_a_resumable_upload_goes_on_once_there_is_room(serve: Serve, small_disk: Path) -> None:
    server = serve(small_disk)
    slide = slide_bytes(6 * MIB)
    ballast = small_disk / "ballast"
    tus = {"Tus-Resumable": "1.0.0"}
    created = http.post(
        f"{server.url}/v1/uploads", headers={**tus, "Upload-Length": str(len(slide))}
    )
    url = server.url + created.headers["Location"]
    ballast.write_bytes(bytes(4 * MIB))

    def patch(offset: int) -> httpx.Response:
        headers = {
            **tus,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        pieces = (slide[i : i + MIB] for i in range(offset, len(slide), MIB))
        return http.patch(url, headers=headers, content=pieces, timeout=60)

    answer = patch(0)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    arrived = int(http.head(url, headers=tus).headers["Upload-Offset"])
    assert 0 < arrived < 5 * MIB
    ballast.unlink()
    assert patch(arrived).status_code == 204
    (name,) = server.slides
    assert server.root.slide_of(name).read_bytes() == slide
