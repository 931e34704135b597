"""Slides in an object store (S3), through fsspec; needs the extra `s3`.

Credentials and endpoint come from where boto takes them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from service.intake.errors import (
    ObjectStoreUnavailable,
    ReferenceForbidden,
    ReferenceMissing,
    ReferenceRefused,
)
from service.intake.limits import MIB, IntakeLimits
from service.intake.partial import Partial
from service.intake.storage import StoredSlide
from service.layout import DataRoot

S3: Final = "s3://"
_URI: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*", re.DOTALL)
_PIECE: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What an object store says of an object.

    Attributes:
        size_bytes: of the object.
        mtime_ns: when it was written, ns of Unix time.
    """

    size_bytes: int
    mtime_ns: int


def check_prefix(uri: str, prefixes: Iterable[str]) -> None:
    """Whether an object may be read.

    Args:
        uri: `s3://bucket/key`.
        prefixes: `s3://bucket/folder/`; the last slash may be left out and is then meant.

    Raises:
        ReferenceRefused: not such a URI.
        ReferenceForbidden: below none of the prefixes.
    """
    if _URI.fullmatch(uri) is None or not {"", ".", ".."}.isdisjoint(uri[len(S3) :].split("/")):
        raise ReferenceRefused(
            "the slide_uri is not s3://bucket/key: send one without empty, `.` or `..` parts"
        )
    if not any(uri.startswith(prefix.rstrip("/") + "/") for prefix in prefixes):
        raise ReferenceForbidden


def describe_object(uri: str, prefixes: Iterable[str]) -> StoredObject:
    """Look an object up. Blocking.

    Raises:
        ReferenceRefused, ReferenceForbidden: as `check_prefix`.
        ReferenceMissing: there is none, or it may not be read.
        ObjectStoreUnavailable: the store does not answer, or s3fs is not installed.
    """
    check_prefix(uri, prefixes)
    with _store_errors():
        info = _file_system().info(uri)
    if info.get("type") != "file":
        raise ReferenceMissing("it is not an object")
    written = info.get("LastModified")
    mtime_ns = round(written.timestamp() * 1e9) if isinstance(written, datetime) else 0
    return StoredObject(int(info["size"]), mtime_ns)


def fetch_to(
    uri: str, prefixes: Iterable[str], root: DataRoot, limits: IntakeLimits
) -> StoredSlide:
    """Copy an object into the store of slides, hashing it on the way. Blocking.

    Memory stays flat; on any error nothing is left.

    Args:
        uri: `s3://bucket/key`.
        prefixes: below which objects may be read.
        root: of the store.
        limits: of size and space, as for an upload.

    Raises:
        SlideTooLarge, StorageFull, UnsupportedUpload: as of an upload.
        ReferenceRefused, ReferenceForbidden, ReferenceMissing, ObjectStoreUnavailable: as
            `describe_object`; the last also if the object changed or broke off meanwhile.
    """
    expected = describe_object(uri, prefixes).size_bytes
    partial = Partial(root, limits)
    try:
        partial.open(expected)
        for piece in _read(uri):
            partial.append([memoryview(piece)])
        if partial.size_bytes != expected:
            raise ObjectStoreUnavailable(
                f"the object ended after {partial.size_bytes} of {expected} bytes: try again"
            )
        return partial.keep()
    finally:
        partial.discard()


def _read(uri: str) -> Iterator[bytes]:
    with _store_errors():
        stream = _file_system().open(uri, "rb", block_size=_PIECE, cache_type="readahead")
    with stream:
        while True:
            with _store_errors():
                piece = stream.read(_PIECE)
            if not piece:
                return
            yield piece


def _file_system() -> Any:
    try:
        from s3fs import S3FileSystem
    except ImportError as err:
        raise ObjectStoreUnavailable(
            "s3:// needs the extra `s3`: install smearscan[s3] where the service runs"
        ) from err
    return S3FileSystem(use_listings_cache=False)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Errors of s3fs and botocore, without credentials, endpoints or keys in the message."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        BotoCoreError = OSError  # noqa: N806
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as err:
        raise ReferenceMissing("there is no such object") from err
    except PermissionError as err:
        raise ReferenceMissing("it may not be read") from err
    except (OSError, BotoCoreError, ValueError) as err:
        raise ObjectStoreUnavailable(
            "the object store gave no answer that can be used: check its address and credentials,"
            " then try again"
        ) from err
