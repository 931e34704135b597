"""What model process and slide process say to each other over their socket.

A message is two big-endian uint32 (bytes of the header, bytes of the body), a header of JSON and a
body of raw numbers. Requests have no body: their pixels lie in memory that the client shares
(`memory.py`), from its first byte. Nothing is ever unpickled, and a header is checked before
anything is done with it.
"""

import socket
import struct
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.card import ClassifierCard
from models.detector_card import DetectorCard
from models.taxonomy import CellClass
from service.contract.health import OperationState

PROTOCOL: Final = 2
"""Both sides must say the same: they are of one installation, but one may be older in memory."""

MAX_REQUEST_BYTES: Final = 16 << 10
"""A request's header is a few hundred bytes."""

MAX_REPLY_BYTES: Final = 4 << 20
"""A classifier's card is 5 to 50 kB, a saliency map 640 kB."""

MAX_SHARED_BYTES: Final = 64 << 20
"""Memory of one connection: 139 patches of 400 px."""

MAX_FIELD_PX: Final = 4 << 20
"""Pixels of the fields of one `detect`: seven tiles of the detection's usual size, 48 MB of
densities and as much of activations in each layer."""

MAX_FIELDS: Final = 1024
"""Fields of one `detect`."""

MAX_SAMPLES: Final = 16
"""Noisy copies of a saliency map; others wait meanwhile."""

PREFIX: Final = struct.Struct(">II")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Of weights. A name and never a path: it comes from whoever asked for the scan."""

Colour = tuple[float, float, float]


class ConnectionLost(Exception):
    """The other side is gone, or has fallen silent in the middle of a message."""


class InvalidMessage(Exception):
    """The other side sent what is no message of this protocol."""


class Message(BaseModel):
    """Root of all headers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ping(Message):
    """Is anybody there?"""

    op: Literal["ping"] = "ping"


class AskStats(Message):
    """What has been done so far?"""

    op: Literal["stats"] = "stats"


class Hello(Message):
    """First of a connection that wants the networks: which classifier it will use."""

    op: Literal["hello"] = "hello"
    protocol: int
    classifier: Name | None = Field(description="None: the one served by default.")


class Share(Message):
    """A memfd comes with this message; it replaces the connection's earlier one."""

    op: Literal["share"] = "share"
    size: int = Field(gt=0, description="Bytes.")


class Classify(Message):
    """Patches of the card's shape lie in the shared memory."""

    op: Literal["classify"] = "classify"
    count: int = Field(ge=1, le=MAX_SHARED_BYTES)


class Detect(Message):
    """Fields of one slide lie in the shared memory; the rest as for `Detector.detect`."""

    op: Literal["detect"] = "detect"
    count: int = Field(ge=1, le=MAX_FIELDS)
    height: int = Field(ge=1, le=MAX_FIELD_PX)
    width: int = Field(ge=1, le=MAX_FIELD_PX)
    background: Colour
    red_cell: Colour
    rim_px: int = Field(default=0, ge=0, le=MAX_FIELD_PX)


class Explain(Message):
    """One patch lies in the shared memory; arguments as for `saliency_maps`."""

    op: Literal["saliency"] = "saliency"
    target: CellClass | None = None
    samples: int = Field(default=0, ge=0, le=MAX_SAMPLES)
    seed: int = Field(default=0, ge=0, lt=1 << 31)


class Pong(Message):
    """Somebody is."""

    reply: Literal["pong"] = "pong"


class Stats(Message):
    """Work done since the process started, by operation."""

    reply: Literal["stats"] = "stats"
    uptime_s: float
    device: str
    connections: int = Field(description="Open now.")
    refused: int = Field(description="Connections turned away because there were too many.")
    classifiers: tuple[str, ...] = Field(description="In memory now.")
    operations: dict[str, OperationState]


class Cards(Message):
    """What the networks expect."""

    reply: Literal["cards"] = "cards"
    detector: DetectorCard
    classifier: ClassifierCard


class Shared(Message):
    """The memory was taken over."""

    reply: Literal["shared"] = "shared"


class Result(Message):
    """Done. The body holds the numbers, little-endian.

    classify: float32, shape (count, 15). saliency: float32, shape (400, 400). detect: float64,
    shape (peaks, 4): x, y, diameter and score of each peak, field after field.
    """

    reply: Literal["result"] = "result"
    peaks: tuple[int, ...] = Field(default=(), description="Of `detect`: how many each field has.")


class Working(Message):
    """Not done yet, but the networks are at work: have patience."""

    reply: Literal["working"] = "working"


class Refusal(Message):
    """The request was not carried out."""

    reply: Literal["refusal"] = "refusal"
    code: Literal["invalid", "protocol", "model_unavailable", "busy"] = Field(
        description="invalid: this request never will be. protocol: it is none. "
        "model_unavailable: these weights cannot be served. busy: try again, on a new connection."
    )
    message: str


Request = Annotated[
    Ping | AskStats | Hello | Share | Classify | Detect | Explain, Field(discriminator="op")
]
Reply = Annotated[
    Pong | Stats | Cards | Shared | Result | Working | Refusal, Field(discriminator="reply")
]

_REQUESTS: Final[TypeAdapter[Request]] = TypeAdapter(Request)
_REPLIES: Final[TypeAdapter[Reply]] = TypeAdapter(Reply)


def parse_request(header: bytes) -> Request:
    """Raises: InvalidMessage."""
    try:
        return _REQUESTS.validate_json(header)
    except ValidationError as err:
        raise InvalidMessage(f"not a request: {_first_error(err)}") from err


def parse_reply(header: bytes) -> Reply:
    """Raises: InvalidMessage."""
    try:
        return _REPLIES.validate_json(header)
    except ValidationError as err:
        raise InvalidMessage(f"not a reply: {_first_error(err)}") from err


def pack(message: Message, body: bytes = b"") -> bytes:
    """A message as it goes over the socket."""
    header = message.model_dump_json().encode()
    return PREFIX.pack(len(header), len(body)) + header + body


def unpack_prefix(prefix: bytes, limit: int) -> tuple[int, int]:
    """Bytes of header and body that follow.

    Raises:
        InvalidMessage: no header, or more than `limit` bytes in all.
    """
    header, body = PREFIX.unpack(prefix)
    if not header or header + body > limit:
        raise InvalidMessage(f"a message of {header} + {body} bytes; at most {limit}")
    return header, body


def receive_exactly(sock: socket.socket, count: int, before_read: Callable[[], None]) -> bytearray:
    """Read `count` bytes.

    Args:
        before_read: called before every read, and so again whenever the socket's timeout has passed
            without a byte; what it raises ends the wait.

    Raises:
        ConnectionLost: the other side closed before, or the socket failed.
    """
    data = bytearray(count)
    view = memoryview(data)
    while view:
        before_read()
        try:
            got = sock.recv_into(view)
        except TimeoutError:
            continue
        except OSError as err:
            raise ConnectionLost(str(err)) from err
        if not got:
            raise ConnectionLost("closed by the other side")
        view = view[got:]
    return data


def _first_error(err: ValidationError) -> str:
    first = err.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:200]
