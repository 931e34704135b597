"""Headers of the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload), read strictly."""

import base64
import binascii
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from starlette.datastructures import Headers

from service.intake.errors import (
    MalformedUpload,
    MetadataTooLarge,
    WrongContentType,
    WrongProtocolVersion,
)

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,expiration,termination,checksum"
ALGORITHMS: Final = ("sha256", "sha1")
CONTENT_TYPE: Final = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece's bytes must hash to.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        digest: raw bytes.
    """

    algorithm: str
    digest: bytes


def check_version(headers: Headers) -> None:
    """Whether the client speaks this protocol.

    Raises:
        WrongProtocolVersion: it does not say so.
    """
    if (sent := headers.get("tus-resumable", "")) != VERSION:
        raise WrongProtocolVersion(sent, VERSION)


def check_content_type(headers: Headers) -> None:
    """Whether the body is a piece of an upload.

    Raises:
        WrongContentType: it is something else.
    """
    if (sent := headers.get("content-type", "")) != CONTENT_TYPE:
        raise WrongContentType(sent, CONTENT_TYPE)


def read_number(headers: Headers, name: str) -> int:
    """A header that must be a number from 0.

    Raises:
        MalformedUpload: it is missing or is not.
    """
    text = headers.get(name)
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        sent = "missing" if text is None else repr(text[:30])
        raise MalformedUpload(f"{name} is {sent}: send a number of bytes, 0 or more")
    return int(text)


def read_metadata(headers: Headers, limit: int) -> str:
    """Upload-Metadata, checked and otherwise as it was sent; "" without one.

    Args:
        headers: of the request that creates an upload.
        limit: most characters.

    Raises:
        MetadataTooLarge: there are more.
        MalformedUpload: not comma-separated pairs of a unique key and Base64.
    """
    text = headers.get("upload-metadata", "")
    if len(text) > limit:
        raise MetadataTooLarge(limit)
    decode_metadata(text)
    return text


def decode_metadata(text: str) -> dict[str, bytes]:
    """The values of an Upload-Metadata header by key.

    Raises:
        MalformedUpload: as `read_metadata`.
    """
    found: dict[str, bytes] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not key.isascii() or not key or key in found:
            raise MalformedUpload("Upload-Metadata has an empty or repeated key: send each once")
        found[key] = _decode(value.strip(), "Upload-Metadata")
    return found


def read_checksum(headers: Headers) -> Checksum | None:
    """Upload-Checksum, None without one.

    Raises:
        MalformedUpload: an unknown algorithm, or not Base64.
    """
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise MalformedUpload(
            f"Upload-Checksum has algorithm {algorithm[:20]!r}: send {' or '.join(ALGORITHMS)}"
        )
    return Checksum(algorithm, _decode(value.strip(), "Upload-Checksum"))


def as_date(unix_s: float) -> str:
    """A time as HTTP writes it (RFC 9110, 5.6.7)."""
    return formatdate(unix_s, usegmt=True)


def _decode(value: str, header: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MalformedUpload(f"{header} has a value that is not Base64: encode it") from err
