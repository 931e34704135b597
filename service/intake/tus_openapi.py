"""What the OpenAPI document says of resumable uploads: headers both ways, bodies, refusals."""

from collections.abc import Callable
from typing import Any, Final

from service.intake.tus_headers import ALGORITHMS, CONTENT_TYPE, VERSION

Responses = dict[int | str, dict[str, Any]]
DescribeProblems = Callable[..., Responses]
"""Problem documents by status: `service.problems.responses`."""

_ANSWERED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "Tus-Resumable": ("The protocol's version.", {"type": "string", "enum": [VERSION]}),
    "Tus-Version": ("Versions that are spoken.", {"type": "string"}),
    "Tus-Extension": ("Extensions that are spoken.", {"type": "string"}),
    "Tus-Max-Size": ("Most bytes of a slide.", {"type": "integer"}),
    "Tus-Checksum-Algorithm": ("For Upload-Checksum.", {"type": "string"}),
    "Location": ("URL of the upload; its end is the `upload_id`.", {"type": "string"}),
    "Upload-Offset": ("Bytes that have arrived.", {"type": "integer", "minimum": 0}),
    "Upload-Length": ("Bytes when it is complete.", {"type": "integer", "minimum": 0}),
    "Upload-Expires": ("When it is removed unless more arrives.", {"type": "string"}),
    "Upload-Metadata": ("As it was sent.", {"type": "string"}),
}
_ASKED: Final[dict[str, tuple[str, bool, dict[str, Any]]]] = {
    "Tus-Resumable": ("The protocol's version.", True, {"type": "string", "enum": [VERSION]}),
    "Upload-Length": ("Bytes of the slide.", True, {"type": "integer", "minimum": 1}),
    "Upload-Offset": (
        "Where the piece begins: bytes that have arrived.",
        True,
        {"type": "integer", "minimum": 0},
    ),
    "Upload-Metadata": (
        "Pairs of a key and a Base64 value, told again by HEAD; never looked at.",
        False,
        {"type": "string"},
    ),
    "Upload-Checksum": (
        f"Algorithm ({' or '.join(ALGORITHMS)}), a space, the piece's digest in Base64.",
        False,
        {"type": "string"},
    ),
    "X-HTTP-Method-Override": (
        "The method that is meant.",
        True,
        {"type": "string", "enum": ["PATCH", "DELETE"]},
    ),
}


def answers(status: int, description: str, *names: str) -> Responses:
    """A success with the headers it carries."""
    headers = {
        name: {"description": said, "schema": schema}
        for name, (said, schema) in _ANSWERED.items()
        if name in names
    }
    return {status: {"description": description, "headers": headers}}


def asks(*names: str, body: bool | None = None) -> dict[str, Any]:
    """Headers that a request has, and its body.

    Args:
        names: of headers.
        body: whether a piece of the slide must be sent; None: nothing is.
    """
    parameters = [
        {"name": name, "in": "header", "required": required, "description": said, "schema": schema}
        for name, (said, required, schema) in _ASKED.items()
        if name in names
    ]
    if body is None:
        return {"parameters": parameters}
    piece = {"schema": {"type": "string", "format": "binary"}}
    return {
        "parameters": parameters,
        "requestBody": {"required": body, "content": {CONTENT_TYPE: piece}},
    }


def no_problems(*_: int) -> Responses:
    """For an app whose OpenAPI document nobody reads."""
    return {}
