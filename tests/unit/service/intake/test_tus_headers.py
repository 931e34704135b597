import pytest
from starlette.datastructures import Headers

from service.intake.errors import (
    MalformedUpload,
    MetadataTooLarge,
    WrongContentType,
    WrongProtocolVersion,
)
from service.intake.tus_headers import (
    as_date,
    check_content_type,
    check_version,
    decode_metadata,
    read_checksum,
    read_metadata,
    read_number,
)


@pytest.mark.parametrize("headers", [{}, {"Tus-Resumable": "0.2.2"}])
def test_another_version_is_refused_and_ours_named(headers: dict[str, str]) -> None:
    with pytest.raises(WrongProtocolVersion) as caught:
        check_version(Headers(headers))
    assert caught.value.headers["Tus-Version"] == "1.0.0"


def test_our_version_is_taken() -> None:
    check_version(Headers({"Tus-Resumable": "1.0.0"}))


@pytest.mark.parametrize("sent", [{}, {"Content-Type": "application/octet-stream"}])
def test_a_piece_of_another_type_is_refused(sent: dict[str, str]) -> None:
    with pytest.raises(WrongContentType):
        check_content_type(Headers(sent))


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 19, int("9" * 19))])
def test_a_number_is_read(text: str, number: int) -> None:
    assert read_number(Headers({"Upload-Offset": text}), "Upload-Offset") == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "0x1", "٣", " ", "9" * 20, "1_0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    sent = Headers(raw=[(b"upload-offset", text.encode("utf-8"))])
    with pytest.raises(MalformedUpload, match="Upload-Offset"):
        read_number(sent, "Upload-Offset")


def test_a_missing_number_is_named() -> None:
    with pytest.raises(MalformedUpload, match="Upload-Length is missing"):
        read_number(Headers({}), "Upload-Length")


def test_metadata_are_pairs_of_key_and_base64() -> None:
    text = "filename c2xpZGUuc3Zz, empty"
    assert read_metadata(Headers({"Upload-Metadata": text}), 100) == text
    assert decode_metadata(text) == {"filename": b"slide.svs", "empty": b""}
    assert read_metadata(Headers({}), 100) == ""


@pytest.mark.parametrize("text", ["a YQ==,a YQ==", "a !", ",", "a YQ==,", "ä YQ=="])
def test_other_metadata_are_refused(text: str) -> None:
    with pytest.raises(MalformedUpload, match="Upload-Metadata"):
        read_metadata(Headers(raw=[(b"upload-metadata", text.encode())]), 100)


def test_metadata_of_the_largest_size_are_taken_and_one_more_is_not() -> None:
    sent = Headers({"Upload-Metadata": "a YWFh"})
    assert read_metadata(sent, 6) == "a YWFh"
    with pytest.raises(MetadataTooLarge):
        read_metadata(sent, 5)


def test_a_checksum_is_read() -> None:
    checksum = read_checksum(Headers({"Upload-Checksum": "sha1 AAEC"}))
    assert checksum is not None
    assert (checksum.algorithm, checksum.digest) == ("sha1", b"\0\1\2")
    assert read_checksum(Headers({})) is None


@pytest.mark.parametrize("text", ["md5 AAEC", "sha256 ???", "sha256-AAEC"])
def test_other_checksums_are_refused(text: str) -> None:
    with pytest.raises(MalformedUpload, match="Upload-Checksum"):
        read_checksum(Headers({"Upload-Checksum": text}))


def test_a_date_is_written_as_http_wants_it() -> None:
    assert as_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
