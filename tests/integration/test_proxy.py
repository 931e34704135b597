"""deploy/nginx.conf in a real nginx, before a stand-in for the api."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

NGINX = shutil.which("nginx")
CONF = Path(__file__).parents[2] / "deploy" / "nginx.conf"
TIMEOUT_S = 60

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Api:
    """Takes one connection and keeps what arrives, so a test can answer when it likes."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.connected.set()


@asynccontextmanager
async def proxy(folder: Path) -> AsyncIterator[tuple[Api, int]]:
    """The api's side, and the proxy's port."""
    api, port, api_port = Api(), free_port(), free_port()
    conf = CONF.read_text()
    for ours, here in (
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("http://api:8000", f"http://127.0.0.1:{api_port}"),
        ("/tmp/", f"{folder}/"),
    ):
        assert ours in conf
        conf = conf.replace(ours, here)
    (folder / "nginx.conf").write_text(conf)
    server = await asyncio.start_server(api.take, "127.0.0.1", api_port)
    nginx = subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-g", "daemon off;"])
    try:
        while True:
            try:
                _, probe = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                assert nginx.poll() is None
                await asyncio.sleep(0.05)
            else:
                probe.close()
                break
        yield api, port
    finally:
        nginx.terminate()
        nginx.wait(TIMEOUT_S)
        server.close()
        if api.connected.is_set():
            api.writer.close()


async def hands_on_an_upload_as_it_arrives(folder: Path) -> None:
    async with proxy(folder) as (api, port):
        _, client = await asyncio.open_connection("127.0.0.1", port)
        length = 40 << 30  # more than any default limit; only the first of it is sent
        client.write(
            f"POST /v1/scans HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        client.write(b"first bytes")
        await api.connected.wait()
        seen = await api.reader.readuntil(b"first bytes")
        assert f"Content-Length: {length}".encode() in seen
        client.close()


async def hands_on_events_one_by_one(folder: Path) -> None:
    async with proxy(folder) as (api, port):
        reader, client = await asyncio.open_connection("127.0.0.1", port)
        client.write(b"GET /v1/scans/s1/events HTTP/1.1\r\nHost: a\r\n\r\n")
        await api.connected.wait()
        await api.reader.readuntil(b"\r\n\r\n")
        api.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            api.writer.write(event)
            await reader.readuntil(event)  # before the next is sent
        client.close()


async def keeps_metrics_inside(folder: Path) -> None:
    async with proxy(folder) as (_, port):
        reader, client = await asyncio.open_connection("127.0.0.1", port)
        client.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        client.close()


@pytest.mark.parametrize(
    "behaviour",
    [hands_on_an_upload_as_it_arrives, hands_on_events_one_by_one, keeps_metrics_inside],
    ids=lambda behaviour: behaviour.__name__,
)
def test_the_proxy(behaviour, tmp_path):
    asyncio.run(asyncio.wait_for(behaviour(tmp_path), TIMEOUT_S))
