"""What the viewer and the process of a slide say to each other, over the latter's stdin and stdout.

A message is two big-endian uint32, the bytes of its header and of its body, then a header of JSON
and a body. A request has no body; an answer's body is the JPEG, the XML or raw RGB.
"""

import struct
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from service.contract.record import Record
from service.contract.viewing import (
    LevelNumber,
    SlidePx,
    SlideReference,
    TileNumber,
    ViewingProblem,
)

PREFIX: Final = struct.Struct(">II")
MAX_HEADER_BYTES: Final = 32 << 10
MAX_BODY_BYTES: Final = 16 << 20


class Open(Record):
    """First of all requests."""

    op: Literal["open"] = "open"
    slide: SlideReference


class Describe(Record):
    """The Deep Zoom descriptor."""

    op: Literal["describe"] = "describe"


class Tile(Record):
    """A tile, as JPEG."""

    op: Literal["tile"] = "tile"
    level: LevelNumber
    column: TileNumber
    row: TileNumber


class Patch(Record):
    """A patch, as JPEG or raw: RGB of patch_px × patch_px."""

    op: Literal["patch"] = "patch"
    x_px: SlidePx
    y_px: SlidePx
    patch_um: float
    patch_px: int
    raw: bool = False


class Answer(Record):
    """To any request; the body is there if there is no problem."""

    problem: ViewingProblem | None = None


Question = Open | Describe | Tile | Patch

QUESTIONS: Final[TypeAdapter[Question]] = TypeAdapter(
    Annotated[Question, Field(discriminator="op")]
)


def pack(message: Question | Answer, body: bytes = b"") -> bytes:
    """A message as it goes over the pipe."""
    header = message.model_dump_json().encode()
    return PREFIX.pack(len(header), len(body)) + header + body
