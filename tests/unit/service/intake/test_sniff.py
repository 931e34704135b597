import pytest

from service.intake.errors import UnsupportedUpload
from service.intake.sniff import check_upload


@pytest.mark.parametrize(
    "head",
    [
        b"II*\0" + b"\0" * 12,
        b"MM\0*" + b"\0" * 12,
        b"II+\0" + b"\0" * 12,
        b"MM\0+" + b"\0" * 12,
        b"\0" * 128 + b"DICM" + b"\0" * 12,
        b"ZISRAWFILE" + b"\0" * 12,
        b"SQLite format 3\0" + b"\0" * 12,
    ],
)
def test_what_a_scanner_writes_as_one_file_is_taken(head: bytes) -> None:
    check_upload(head)


@pytest.mark.parametrize(
    ("head", "phrase"),
    [
        (b"", "empty (0 bytes)"),
        (b"II*", "text"),
        (b"\0" * 128 + b"DIC", "of no known type"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"PK\x03\x04", "a ZIP archive or office document"),
        (b"<!DOCTYPE html>", "text"),
        (bytes(512), "of no known type"),
    ],
)
def test_what_cannot_be_a_slide_is_refused_by_what_it_is(head: bytes, phrase: str) -> None:
    with pytest.raises(UnsupportedUpload, match="not a slide: ") as caught:
        check_upload(head)
    assert caught.value.looks_like == phrase


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"[Virtual Microscope]\n"])
def test_a_part_of_a_slide_in_several_files_is_sent_to_slide_uri(head: bytes) -> None:
    with pytest.raises(UnsupportedUpload, match=r"several files .* slide_uri"):
        check_upload(head)
