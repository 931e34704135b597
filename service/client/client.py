"""A client of the service's HTTP interface.

ClientError
├── Unreachable     no answer for too long, however often it was tried
└── Refused         the service answered and will not

A request that gets no answer is sent again: posting a slide carries an `Idempotency-Key`, and an
unfinished batch is found again by what it asks for, so nothing is done twice.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from service.client.settings import ClientSettings
from service.contract.batch import (
    Batch,
    BatchItem,
    BatchItemPage,
    BatchPage,
    BatchRequest,
    ItemState,
)
from service.contract.problem import Problem
from service.contract.report import Report
from service.contract.scan import Scan
from service.contract.submission import ScanMetadata, ScanSubmission

WATCHING_S: Final = 300.0
"""How long something that is watched already is asked about when nobody answers, s: the service may
be restarting."""
OVERLOADED_S: Final = 900.0
"""How long a service that says it is overloaded is asked again, s."""
LONGEST_WAIT_S: Final = 30.0
_GATEWAY: Final = frozenset({502, 504})
_LATER: Final = frozenset({429, 503})

_Answer = TypeVar("_Answer", bound=BaseModel)


class ClientError(Exception):
    """The service did not do what was asked."""


class Unreachable(ClientError):
    """Nobody answers at the service's URL."""


class Refused(ClientError):
    """The service will not.

    Attributes:
        code: a `ProblemCode`, or the HTTP status where something else answered.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """Talks to one service. Not safe to share between threads.

    Args:
        settings: where it is, and with which key.
        sleep: waits between tries, s.
    """

    def __init__(
        self, settings: ClientSettings, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        key = settings.key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self.server = settings.server.rstrip("/")
        self._patience_s = settings.patience_s
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.server, headers=headers, timeout=httpx.Timeout(60, connect=5)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post_slide(
        self, slide: Path, metadata: ScanMetadata, on_sent: Callable[[int, int], None]
    ) -> Scan:
        """Have a file scanned; it is read while it is sent.

        Args:
            slide: to send.
            metadata: with it.
            on_sent: called with bytes sent and bytes in all.

        Raises:
            ClientError: it was not taken.
            OSError: the file cannot be read.
        """
        with slide.open("rb") as file:
            watched = _Watched(file, slide.stat().st_size, on_sent)
            answer = self._send(
                "POST",
                "/v1/scans",
                data={"metadata": metadata.model_dump_json()},
                files={"slide": (slide.name, watched, "application/octet-stream")},
                headers=_new_key(),
                timeout=httpx.Timeout(300, connect=5),
            )
        return _read(Scan, answer)

    def post_uri(self, slide_uri: str, metadata: ScanMetadata) -> Scan:
        """Have a slide scanned that the service can reach by itself.

        Raises:
            ClientError: it was not taken.
        """
        asked = ScanSubmission(slide_uri=slide_uri, **dict(metadata))
        return _read(
            Scan,
            self._send("POST", "/v1/scans", json=asked.model_dump(mode="json"), headers=_new_key()),
        )

    def get_scan(self, scan_id: str) -> Scan:
        """Where a scan stands.

        Raises:
            ClientError: it is not told.
        """
        return _read(Scan, self._send("GET", f"/v1/scans/{scan_id}", patience_s=WATCHING_S))

    def get_report(self, scan_id: str) -> Report:
        """The result of a scan.

        Raises:
            ClientError: it is not told.
        """
        answer = self._send("GET", f"/v1/scans/{scan_id}/report", patience_s=WATCHING_S)
        return _read(Report, answer)

    def post_batch(self, request: BatchRequest) -> tuple[Batch, bool]:
        """A new batch, or the unfinished one that does the same; and whether it is new.

        Raises:
            ClientError: it was not taken.
        """
        answer = self._send("POST", "/v1/batches", json=request.model_dump(mode="json"))
        return _read(Batch, answer), answer.status_code == httpx.codes.ACCEPTED

    def get_batch(self, batch_id: str) -> Batch:
        """Where a batch stands.

        Raises:
            ClientError: it is not told.
        """
        return _read(Batch, self._send("GET", f"/v1/batches/{batch_id}", patience_s=WATCHING_S))

    def change_batch(self, batch_id: str, change: str) -> Batch:
        """`pause`, `resume` or `cancel` a batch.

        Raises:
            ClientError: it cannot be done.
        """
        return _read(Batch, self._send("POST", f"/v1/batches/{batch_id}/{change}"))

    def list_batches(self, limit: int) -> tuple[Batch, ...]:
        """The newest batches.

        Raises:
            ClientError: they are not told.
        """
        return _read(BatchPage, self._send("GET", f"/v1/batches?limit={limit}")).batches

    def list_items(self, batch_id: str, state: ItemState) -> Iterator[BatchItem]:
        """A batch's slides in a state, asked for as they are looked at.

        Raises:
            ClientError: they are not told.
        """
        cursor = ""
        while True:
            path = f"/v1/batches/{batch_id}/items?state={state}&limit=200{cursor}"
            page = _read(BatchItemPage, self._send("GET", path))
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = f"&cursor={page.next_cursor}"

    def _send(
        self, method: str, path: str, *, patience_s: float | None = None, **request: Any
    ) -> httpx.Response:
        """Send a request until it is answered with something other than "later"."""
        begun, wait_s = time.monotonic(), 0.5
        patience_s = self._patience_s if patience_s is None else patience_s
        while True:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as err:
                reason, until = str(err) or type(err).__name__, begun + patience_s
            else:
                if answer.is_success:
                    return answer
                if answer.status_code in _GATEWAY:
                    reason, until = f"HTTP {answer.status_code}", begun + patience_s
                elif answer.status_code in _LATER:
                    wait_s = max(wait_s, _retry_after(answer))
                    if time.monotonic() + wait_s > begun + OVERLOADED_S:
                        raise _refusal(answer)
                    self._sleep(min(wait_s, LONGEST_WAIT_S))
                    continue
                else:
                    raise _refusal(answer)
            if time.monotonic() + wait_s > until:
                raise Unreachable(f"{self.server} does not answer: {reason}")
            self._sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)


class _Watched:
    """A file that tells how far it was read."""

    def __init__(
        self, file: BinaryIO, size_bytes: int, on_read: Callable[[int, int], None]
    ) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._on_read = on_read

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._on_read(self._file.tell(), self._size_bytes)
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def _new_key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_urlsafe(24)}


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def _refusal(answer: httpx.Response) -> Refused:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        return Refused(str(answer.status_code), f"{answer.url} answers {answer.reason_phrase}")
    return Refused(problem.code, " ".join((problem.detail, *problem.errors)))


def _read(kind: type[_Answer], answer: httpx.Response) -> _Answer:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as err:
        raise Refused(
            "unexpected_answer",
            f"{answer.url} answers what this version of smearscan does not know: use the version"
            " of the service, and check SMEARSCAN_SERVER",
        ) from err
