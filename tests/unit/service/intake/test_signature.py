import pytest

from service.intake.signature import describe_signature, is_tiff


@pytest.mark.parametrize(
    ("head", "phrase"),
    [
        (b"\x89PNG\r\n\x1a\n....", "a PNG picture"),
        (b"\xff\xd8\xff\xe0....", "a JPEG picture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive or office document"),
        (b"\0" * 128 + b"DICM", "a DICOM file"),
        ("Größe, µm\n".encode(), "text"),
        (b"x" * 511 + "µ".encode()[:1], "text"),
        (b"\x00\x01\x02\x03", "of no known type"),
        (b"\xfe\xfe\xfe\xfe\xfe\xfe", "of no known type"),
    ],
)
def test_a_file_is_described_by_its_first_bytes(head: bytes, phrase: str) -> None:
    assert describe_signature(head) == phrase


@pytest.mark.parametrize("head", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_classic_and_big_tiff_of_either_byte_order_are_tiff(head: bytes) -> None:
    assert is_tiff(head + b"\0" * 12)


def test_a_tiff_magic_cut_short_is_not_tiff() -> None:
    assert not is_tiff(b"II*")
