"""What of the file system a batch may name: what lies under the installation's slide roots."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from service.contract.failure import AnalysisError, Failure, FailureCode
from service.settings import ServiceSettings


class SourceRefused(Exception):
    """A batch's source is not where slides may be; the message holds no path."""


@dataclass(frozen=True, slots=True)
class SlidePlaces:
    """The slide roots of an installation.

    Attributes:
        roots: directories, without links in their paths.
    """

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """As an installation set them."""
        return cls(tuple(Path(os.path.realpath(root)) for root in settings.slide_roots))

    def contains(self, real: str | Path) -> bool:
        """Whether a path without links lies in or under a root."""
        path = Path(real)
        return any(path.is_relative_to(root) for root in self.roots)

    def locate(self, uri: str) -> Path:
        """The path without links of an absolute path or a `file:` URI; it need not exist.

        Raises:
            SourceRefused: it is neither, or lies outside the slide roots.
        """
        path = _as_path(uri)
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError) as err:
            raise SourceRefused("it is not a path that can be looked up: check it") from err
        if not self.contains(real):
            raise SourceRefused(
                "it lies outside the directories that are allowed here, or is linked to outside:"
                " ask the administrator to add its directory to SMEARSCAN_SLIDE_ROOTS"
            )
        return real

    def locate_directory(self, uri: str) -> Path:
        """As `locate`, of a directory that is there.

        Raises:
            SourceRefused: it is not.
        """
        path = self.locate(uri)
        if not path.is_dir():
            raise SourceRefused("there is no such directory: check it")
        return path

    def locate_file(self, uri: str) -> Path:
        """As `locate`, of a regular file that is there.

        Raises:
            SourceRefused: it is not.
        """
        path = self.locate(uri)
        if not path.is_file():
            raise SourceRefused("there is no such file: check it")
        return path


def unreadable(message: str) -> Failure:
    """Why something that should be a slide never came to a scan."""
    return AnalysisError(FailureCode.SLIDE_UNREADABLE, message).failure


def _as_path(uri: str) -> str:
    if uri.startswith("file:"):
        try:
            parts = urlsplit(uri)
        except ValueError as err:  # e.g. a bracket without its pair
            raise SourceRefused("it is not a file: URI: check it") from err
        if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
            raise SourceRefused("the file: URI names another machine or more than a path")
        uri = unquote(parts.path)
    if not uri.startswith("/") or "\0" in uri:
        raise SourceRefused("it is no absolute path on the service's machine: begin it with `/`")
    return uri
