"""A laboratory system that is called back: a real HTTP server in a thread."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Message:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def notice(self) -> dict[str, Any]:
        """The body, read."""
        notice: dict[str, Any] = json.loads(self.body)
        return notice


@dataclass
class Receiver:
    """A server; `answers` are given in turn, the last one for ever."""

    port: int
    answers: list[tuple[int, dict[str, str]]]
    messages: list[Message] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def of(self, scan_id: str) -> list[Message]:
        """What came about a scan."""
        return [m for m in self.messages if m.notice["scan"]["scan_id"] == scan_id]


@contextmanager
def receiving(*answers: int | tuple[int, dict[str, str]], port: int = 0) -> Iterator[Receiver]:
    """A receiver that answers so; 200 if nothing is said."""
    given = [(a, {}) if isinstance(a, int) else a for a in answers or (200,)]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.messages.append(Message(self.path, dict(self.headers.items()), body))
            status, headers = given.pop(0) if len(given) > 1 else given[0]
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        receiver = Receiver(server.server_address[1], given)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def is_signed(message: Message, secret: str) -> bool:
    """As docs/operations.md tells a receiver to check."""
    parts = dict(p.split("=", 1) for p in message.headers["X-Smearscan-Signature"].split(","))
    signed = parts["t"].encode() + b"." + message.body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(parts["v1"], expected)
