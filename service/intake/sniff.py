"""Refuse what cannot be a slide by its first bytes, before the rest has arrived."""

from typing import Final

from service.intake.errors import UnsupportedUpload
from service.intake.signature import describe_signature, is_tiff

READABLE: Final = frozenset({"a DICOM file", "a Zeiss CZI file", "an SQLite database"})
"""Besides TIFF, what a scanner's single file may be. SQLite: Sakura's svslide."""

_SEND: Final = "send a pyramidal TIFF, SVS, NDPI, SCN, BIF or a DICOM whole-slide image"
_FOLDER: Final = (
    "a slide of several files (MIRAX, VMS) cannot be uploaded as one; put its folder where the"
    " service may read it and name it in slide_uri"
)
_REMEDIES: Final = {
    "a JPEG picture": f"{_SEND}. If it is the .mrxs file of a MIRAX slide: {_FOLDER}",
    "text": f"{_SEND}. If it is the .vms file of a Hamamatsu slide: {_FOLDER}",
    "a ZIP archive or office document": f"unpack it and {_SEND}; {_FOLDER}",
    "a gzip archive": f"unpack it and {_SEND}",
    "a 7-Zip archive": f"unpack it and {_SEND}; {_FOLDER}",
}


def check_upload(head: bytes) -> None:
    """Judge an uploaded file, which has no companions, by its beginning.

    Args:
        head: its first `signature.HEAD_BYTES` bytes, fewer if it is shorter.

    Raises:
        UnsupportedUpload: it cannot be a slide.
    """
    if not head:
        raise UnsupportedUpload("empty (0 bytes)", _SEND)
    phrase = describe_signature(head)
    if not is_tiff(head) and phrase not in READABLE:
        raise UnsupportedUpload(phrase, _REMEDIES.get(phrase, _SEND))
