"""A multipart form with a slide, taken apart as it comes (RFC 7578)."""

from collections.abc import Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.intake.errors import (
    MalformedUpload,
    MetadataTooLarge,
    SlideMissing,
    SlideTooLarge,
    WrongContentType,
)
from service.intake.partial import Partial
from service.intake.storage import StoredSlide

SLIDE: Final = b"slide"
METADATA: Final = b"metadata"
MAX_BOUNDARY: Final = 70
"""RFC 2046, 5.1.1."""
_PLAIN: Final = frozenset({b"binary", b"8bit", b"7bit"})


def read_boundary(content_type: str) -> bytes:
    """The boundary a request's Content-Type names.

    Raises:
        WrongContentType: it is not a form.
        MalformedUpload: there is no boundary, or too long a one.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise WrongContentType(content_type, "multipart/form-data")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise MalformedUpload(
            f"the boundary in Content-Type has {len(boundary)} characters: send 1 to {MAX_BOUNDARY}"
        )
    return boundary


class SlideForm:
    """Parts `slide` and, before or after it, `metadata`; no others.

    Args:
        boundary: between the parts.
        partial: takes the slide.
        max_form_bytes: of everything together.
        max_metadata_bytes: of the metadata.
        check_metadata: called with the metadata as soon as they are there; what it raises ends the
            upload.

    Attributes:
        metadata: the part's bytes, None while there are none.
        filename: the slide's name as the client knows it, None if it told none. Only for people:
            it may name a patient, and no file here is called after it.
    """

    def __init__(
        self,
        boundary: bytes,
        partial: Partial,
        *,
        max_form_bytes: int,
        max_metadata_bytes: int,
        check_metadata: Callable[[bytes], object] | None = None,
    ) -> None:
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        self._partial = partial
        self._max_form_bytes = max_form_bytes
        self._max_metadata_bytes = max_metadata_bytes
        self._check_metadata = check_metadata
        self._bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._part = b""
        self._seen: set[bytes] = set()
        self._ended = False
        self._pieces: list[memoryview] = []
        self._metadata = bytearray()
        self.metadata: bytes | None = None
        self.filename: str | None = None

    def feed(self, chunks: list[bytes]) -> None:
        """Take the next bytes of the body.

        Raises:
            IntakeError: of any kind about what was sent, or StorageFull.
        """
        for chunk in chunks:
            self._bytes += len(chunk)
            if self._bytes > self._max_form_bytes:
                raise SlideTooLarge(self._bytes, self._max_form_bytes)
            try:
                self._parser.write(chunk)
            except FormParserError as err:
                raise MalformedUpload(
                    f"the form cannot be read after {self._bytes - len(chunk)} bytes: send"
                    " multipart/form-data as in RFC 7578"
                ) from err
        pieces, self._pieces = self._pieces, []
        self._partial.append(pieces)

    def finish(self) -> StoredSlide:
        """Keep the slide: the body is over.

        Raises:
            MalformedUpload: the form is not.
            SlideMissing: there was none.
            UnsupportedUpload: it is not one.
            StorageFull: it could not be kept.
        """
        if not self._ended:
            raise MalformedUpload(
                f"the form breaks off after {self._bytes} bytes, without its closing boundary:"
                " send it again"
            )
        if SLIDE not in self._seen:
            raise SlideMissing
        return self._partial.keep()

    def _begin_part(self) -> None:
        self._headers = {}

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        if (key := bytes(name).lower()) in self._headers:
            raise MalformedUpload("a part of the form has the same header twice: send it once")
        self._headers[key] = bytes(value).strip()
        self._header = (bytearray(), bytearray())

    def _name_part(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MalformedUpload(
                "a part of the form has no Content-Disposition: form-data with a name: send one"
            )
        if name not in (SLIDE, METADATA):
            raise MalformedUpload(
                f"the form has a part {_printable(name)[:50]!r}: send only `slide` and `metadata`"
            )
        if name in self._seen:
            raise MalformedUpload(f"the form has two parts {name.decode()!r}: send one")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").lower()
        if encoding not in _PLAIN:
            raise MalformedUpload(
                f"a part has Content-Transfer-Encoding {_printable(encoding)[:50]!r}: send the"
                " bytes as they are"
            )
        self._seen.add(name)
        self._part = name
        if name == SLIDE and b"filename" in options:
            self.filename = plain_filename(options[b"filename"])

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == SLIDE:
            self._pieces.append(memoryview(data)[start:end])
            return
        if len(self._metadata) + end - start > self._max_metadata_bytes:
            raise MetadataTooLarge(self._max_metadata_bytes)
        self._metadata += data[start:end]

    def _end_part(self) -> None:
        if self._part == METADATA:
            self.metadata = bytes(self._metadata)
            if self._check_metadata is not None:
                self._check_metadata(self.metadata)

    def _end(self) -> None:
        self._ended = True


def plain_filename(sent: bytes) -> str | None:
    """A client's file name without directories and control characters, at most 255 characters."""
    name = _printable(sent).replace("\\", "/").rpartition("/")[2].strip()[:255]
    return None if name in ("", ".", "..") else name


def _printable(sent: bytes) -> str:
    return "".join(c for c in sent.decode("utf-8", "replace") if c.isprintable())
