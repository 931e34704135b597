"""A `slide_uri`: a slide that is already stored somewhere this service may read."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from service.intake.errors import (
    ReferenceForbidden,
    ReferenceMissing,
    ReferenceRefused,
    SlideTooLarge,
)
from service.intake.objects import S3, describe_object
from service.settings import ServiceSettings

MAX_URI: Final = 4096


@dataclass(frozen=True, slots=True)
class Reference:
    """A slide where it lies.

    Attributes:
        uri: `s3://bucket/key` or an absolute path without symbolic links: what to keep.
        size_bytes: when it was looked up.
        mtime_ns: when it was last written, ns of Unix time; another one means another slide.
    """

    uri: str
    size_bytes: int
    mtime_ns: int

    @property
    def path(self) -> Path | None:
        """Of a file, None of an object."""
        return None if self.uri.startswith(S3) else Path(self.uri)


def resolve_reference(uri: str, settings: ServiceSettings) -> Reference:
    """Find what a `slide_uri` names. Blocking; opens nothing.

    Args:
        uri: `/absolute/path`, `file:///absolute/path` (percent-encoded) or `s3://bucket/key`.
        settings: say where slides may lie.

    Raises:
        ReferenceRefused: not such a URI.
        ReferenceForbidden: elsewhere; also by way of `..` or a symbolic link.
        ReferenceMissing: no regular file or object that can be read.
        SlideTooLarge: more bytes than are taken.
        ObjectStoreUnavailable: the object store does not answer.
    """
    if len(uri) > MAX_URI:
        raise ReferenceRefused(f"the slide_uri has {len(uri)} characters: send {MAX_URI} at most")
    if uri.startswith(S3):
        found = describe_object(uri, settings.s3_prefixes)
        reference = Reference(uri, found.size_bytes, found.mtime_ns)
    else:
        path = open_check(_read_path(uri), settings.slide_roots)
        with _file_errors():
            state = path.stat()
        reference = Reference(str(path), state.st_size, state.st_mtime_ns)
    if reference.size_bytes > settings.max_slide_bytes:
        raise SlideTooLarge(reference.size_bytes, settings.max_slide_bytes)
    return reference


def open_check(path: Path, roots: Iterable[Path]) -> Path:
    """Whether a file may be read; for whoever is about to open it, too.

    Time passes between a request and its scan: a directory may have become a symbolic link.

    Args:
        path: absolute.
        roots: directories below which slides may lie.

    Returns:
        The path without symbolic links: open this one.

    Raises:
        ReferenceForbidden: it is outside every root once links are followed.
        ReferenceMissing: there is no regular file. Nothing is opened, so a pipe or device does
            not block.
    """
    with _file_errors():
        real = path.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in roots):
            raise ReferenceForbidden
        if not stat.S_ISREG(real.stat().st_mode):
            raise ReferenceMissing("it is not a regular file")
        if not os.access(real, os.R_OK):
            raise ReferenceMissing("it may not be read")
    return real


def _read_path(uri: str) -> Path:
    if uri.startswith("/"):
        return Path(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = urlsplit("")
    if (
        parts.scheme != "file"
        or parts.netloc not in ("", "localhost")
        or parts.query
        or parts.fragment
        or not parts.path.startswith("/")
    ):
        raise ReferenceRefused(
            f"the slide_uri {uri[:80]!r} is none that is read here: send an absolute path,"
            " file:///path or, where the installation allows it, s3://bucket/key"
        )
    return Path(unquote(parts.path))


@contextmanager
def _file_errors() -> Iterator[None]:
    """Errors of the file system, without saying which file."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as err:  # a loop of links; a NUL in the path
        raise ReferenceMissing from err
