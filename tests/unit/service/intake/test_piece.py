import hashlib

import pytest

from service.intake.errors import (
    ChecksumMismatch,
    IntakeError,
    MalformedUpload,
    OffsetMismatch,
    StorageFull,
    UnsupportedUpload,
    UploadNotFound,
)
from service.intake.piece import Piece
from service.intake.resumable import FinishedUpload, ResumableUploads
from service.intake.tus_headers import Checksum
from service.layout import DataRoot
from tests.slide_bytes import limits, slide_bytes

OWNER = "key-1"
SLIDE = slide_bytes(2000)
SHA256 = hashlib.sha256(SLIDE).hexdigest()


def begun(root: DataRoot, length: int = len(SLIDE)) -> tuple[ResumableUploads, str]:
    uploads = ResumableUploads(root, limits())
    return uploads, uploads.create(OWNER, length)


def send(
    uploads: ResumableUploads,
    upload_id: str,
    offset: int,
    content: bytes,
    *,
    checksum: Checksum | None = None,
    told: int | None = None,
    broken: bool = False,
) -> FinishedUpload | None:
    """One request; `broken`: the connection breaks after `content`."""
    piece = Piece(uploads, upload_id, OWNER, offset, told, checksum)
    try:
        piece.open()
        piece.append([content])
        return None if broken else piece.finish()
    finally:
        piece.close()


def offset_of(uploads: ResumableUploads, upload_id: str) -> int:
    return uploads.look_up(upload_id, OWNER).offset


def sha1(content: bytes) -> Checksum:
    return Checksum("sha1", hashlib.sha1(content).digest())


@pytest.mark.parametrize("cuts", [[2000], [1, 2000], [700, 1400, 2000], [511, 512, 513, 2000]])
def test_pieces_make_the_slide(root: DataRoot, cuts: list[int]) -> None:
    uploads, upload_id = begun(root)
    at = 0
    for cut in cuts:
        finished = send(uploads, upload_id, at, SLIDE[at:cut])
        at = cut
    assert finished == FinishedUpload(SHA256, 2000)
    assert root.slide_of(SHA256).read_bytes() == SLIDE


def test_a_piece_that_is_cut_short_keeps_what_arrived(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, SLIDE[:700], told=2000, broken=True)
    assert offset_of(uploads, upload_id) == 700
    assert send(uploads, upload_id, 700, SLIDE[700:]) == FinishedUpload(SHA256, 2000)


def test_a_checked_piece_that_is_cut_short_does_not_count(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, SLIDE[:500])
    send(uploads, upload_id, 500, SLIDE[500:700], checksum=sha1(SLIDE[500:]), broken=True)
    assert offset_of(uploads, upload_id) == 500
    assert send(uploads, upload_id, 500, SLIDE[500:]) == FinishedUpload(SHA256, 2000)


def test_a_piece_with_its_checksum_counts(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, SLIDE[:700], checksum=sha1(SLIDE[:700]))
    rest = Checksum("sha256", hashlib.sha256(SLIDE[700:]).digest())
    assert send(uploads, upload_id, 700, SLIDE[700:], checksum=rest) == FinishedUpload(SHA256, 2000)


def test_a_damaged_piece_is_dropped_even_if_it_does_not_look_like_a_slide(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    with pytest.raises(ChecksumMismatch, match="sha1"):
        send(uploads, upload_id, 0, b"%PDF-" + SLIDE[5:], checksum=sha1(SLIDE))
    assert offset_of(uploads, upload_id) == 0
    assert send(uploads, upload_id, 0, SLIDE, checksum=sha1(SLIDE)) == FinishedUpload(SHA256, 2000)


@pytest.mark.parametrize("offset", [0, 699, 701, 2001])
def test_a_piece_that_begins_elsewhere_is_told_where(root: DataRoot, offset: int) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, SLIDE[:700])
    with pytest.raises(OffsetMismatch) as caught:
        send(uploads, upload_id, offset, b"x")
    assert caught.value.headers["Upload-Offset"] == "700"
    assert offset_of(uploads, upload_id) == 700


@pytest.mark.parametrize("told", [True, False])
def test_a_piece_longer_than_the_rest_is_refused(root: DataRoot, told: bool) -> None:
    uploads, upload_id = begun(root)
    with pytest.raises(MalformedUpload, match="ends at byte 2001, Upload-Length is 2000"):
        send(uploads, upload_id, 0, SLIDE + b"x", told=2001 if told else None)
    assert offset_of(uploads, upload_id) == 0


def test_what_is_not_a_slide_is_refused_before_its_end_and_removed(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, bytes(511))
    with pytest.raises(UnsupportedUpload, match="of no known type"):
        send(uploads, upload_id, 511, b"\0")
    with pytest.raises(UploadNotFound):
        uploads.look_up(upload_id, OWNER)
    assert list(root.uploads.iterdir()) == []


def test_a_piece_to_a_finished_upload_is_told_it_is_over(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    send(uploads, upload_id, 0, SLIDE)
    with pytest.raises(OffsetMismatch):
        send(uploads, upload_id, 0, SLIDE)
    with pytest.raises(IntakeError):
        send(uploads, upload_id, 2000, b"x")
    assert root.slide_of(SHA256).read_bytes() == SLIDE


def test_a_piece_that_does_not_fit_is_refused_and_the_upload_stays(root: DataRoot) -> None:
    roomy = ResumableUploads(root, limits(max_slide_bytes=1 << 61))
    upload_id = roomy.create(OWNER, 2000)
    full = ResumableUploads(root, limits(min_free_bytes=1 << 60))
    with pytest.raises(StorageFull):
        send(full, upload_id, 0, SLIDE)
    assert send(roomy, upload_id, 0, SLIDE) == FinishedUpload(SHA256, 2000)


def test_a_closed_piece_takes_nothing_more(root: DataRoot) -> None:
    uploads, upload_id = begun(root)
    piece = Piece(uploads, upload_id, OWNER, 0, None, None)
    piece.open()
    piece.close()
    piece.append([SLIDE])
    assert piece.finish() is None
    piece.close()
    assert offset_of(uploads, upload_id) == 0
