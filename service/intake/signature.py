"""What a file is, judged by its first bytes and never by its name."""

from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 512

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 codestream"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (8, b"WEBP", "a WebP picture"),
    (4, b"ftyp", "an MP4 or HEIF file"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive or office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"ZISRAWFILE", "a Zeiss CZI file"),
    (128, b"DICM", "a DICOM file"),
)


def read_head(path: Path) -> bytes:
    """The first `HEAD_BYTES` bytes of a file, fewer if it is shorter."""
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with `head` claims to be a TIFF or BigTIFF."""
    return head.startswith(_TIFF)


def describe_signature(head: bytes) -> str:
    """A phrase for error messages: "a PNG picture", "text", "of no known type"."""
    for offset, magic, phrase in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return phrase
    return "text" if _is_text(head) else "of no known type"


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as err:
        return err.start > len(head) - 4  # a character cut off at the end of the head
    return True
