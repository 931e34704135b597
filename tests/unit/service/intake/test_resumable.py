import hashlib
import os
import time

import pytest

from service.intake.errors import (
    SlideTooLarge,
    StorageFull,
    TooManyUnfinished,
    UnsupportedUpload,
    UploadExpired,
    UploadLocked,
    UploadNotFound,
    UploadUnfinished,
)
from service.intake.resumable import ResumableUploads
from service.intake.storage import place_slide
from service.layout import DataRoot
from tests.slide_bytes import limits, slide_bytes

OWNER = "key-1"
SLIDE = slide_bytes(2000)
SHA256 = hashlib.sha256(SLIDE).hexdigest()


def uploads(root: DataRoot, **others: float) -> ResumableUploads:
    return ResumableUploads(root, limits(**others))


def with_bytes(root: DataRoot, content: bytes, length: int = len(SLIDE)) -> str:
    """An upload of which `content` has arrived."""
    upload_id = uploads(root).create(OWNER, length, "filename YQ==")
    with uploads(root).write(upload_id, OWNER) as (descriptor, state):
        os.pwrite(descriptor, content, state.offset)
    return upload_id


def age(root: DataRoot, seconds: float) -> None:
    for path in root.uploads.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def names(root: DataRoot) -> list[str]:
    return sorted(path.suffix for path in root.uploads.iterdir())


def test_another_process_sees_where_an_upload_stands(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE[:700])
    state = uploads(root).look_up(upload_id, OWNER)
    assert (state.offset, state.ticket.length) == (700, 2000)
    assert state.ticket.metadata == "filename YQ=="


def test_files_of_an_upload_are_its_owners_alone(root: DataRoot) -> None:
    with_bytes(root, SLIDE[:700])
    assert {path.stat().st_mode & 0o777 for path in root.uploads.iterdir()} == {0o600}


def test_an_upload_of_somebody_else_looks_as_if_it_were_not_there(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    for ask in (uploads(root).look_up, uploads(root).find_upload, uploads(root).remove):
        with pytest.raises(UploadNotFound):
            ask(upload_id, "key-2")


@pytest.mark.parametrize(
    "upload_id", ["", "0" * 31, "0" * 33, "../" * 10 + "ab", "G" * 32, "A" * 32, "0" * 31 + "\n"]
)
def test_an_id_that_we_never_gave_touches_no_file(root: DataRoot, upload_id: str) -> None:
    with pytest.raises(UploadNotFound):
        uploads(root).look_up(upload_id, OWNER)


def test_the_longest_upload_is_created_and_one_byte_more_is_not(root: DataRoot) -> None:
    uploads(root, max_slide_bytes=2000).create(OWNER, 2000)
    with pytest.raises(SlideTooLarge):
        uploads(root, max_slide_bytes=1999).create(OWNER, 2000)


def test_an_empty_upload_and_one_that_does_not_fit_are_not_created(root: DataRoot) -> None:
    with pytest.raises(UnsupportedUpload, match="empty"):
        uploads(root).create(OWNER, 0)
    with pytest.raises(StorageFull):
        uploads(root, max_slide_bytes=1 << 61).create(OWNER, 1 << 60)
    assert names(root) == []


def test_an_owner_begins_so_many_and_more_once_one_is_over(root: DataRoot) -> None:
    few = uploads(root, max_unfinished=3)
    whole, gone, old = with_bytes(root, SLIDE), *(few.create(OWNER, 2000) for _ in range(2))
    with pytest.raises(TooManyUnfinished, match="3 resumable uploads of this key"):
        few.create(OWNER, 2000)
    assert few.create("key-2", 2000), "another owner has places of his own"
    few.find_upload(whole, OWNER)
    few.create(OWNER, 2000)
    with pytest.raises(TooManyUnfinished):
        few.create(OWNER, 2000)
    few.remove(gone, OWNER)
    few.create(OWNER, 2000)
    for path in root.uploads.glob(f"{old}.*"):
        os.utime(path, (time.time() - 10**6, time.time() - 10**6))
    few.create(OWNER, 2000)
    with pytest.raises(TooManyUnfinished):
        few.create(OWNER, 2000)


def test_one_writes_and_the_other_is_told_so(root: DataRoot) -> None:
    upload_id = with_bytes(root, b"")
    with uploads(root).write(upload_id, OWNER):
        with (
            pytest.raises(UploadLocked),
            uploads(root).write(upload_id, OWNER),
        ):
            pass
        with pytest.raises(UploadLocked):
            uploads(root).remove(upload_id, OWNER)
        assert uploads(root).look_up(upload_id, OWNER).offset == 0
    with uploads(root).write(upload_id, OWNER):
        pass


def test_bytes_that_wait_for_their_check_do_not_count_and_are_cut_off(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE[:700])
    kept = uploads(root)
    kept.mark(upload_id, kept.look_up(upload_id, OWNER).ticket, unverified_from=500)
    assert uploads(root).look_up(upload_id, OWNER).offset == 500
    with uploads(root).write(upload_id, OWNER) as (descriptor, state):
        assert state.offset == 500
        assert os.fstat(descriptor).st_size == 500
    assert uploads(root).look_up(upload_id, OWNER).ticket.unverified_from is None


def test_an_upload_that_is_whole_becomes_a_slide_when_it_is_asked_for(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    found = uploads(root).find_upload(upload_id, OWNER)
    assert (found.sha256, found.size_bytes) == (SHA256, 2000)
    assert root.slide_of(SHA256).read_bytes() == SLIDE
    assert names(root) == [".json"]
    assert uploads(root).find_upload(upload_id, OWNER) == found
    assert uploads(root).look_up(upload_id, OWNER).offset == 2000


def test_an_upload_that_is_not_whole_is_no_slide_yet(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE[:1999])
    with pytest.raises(UploadUnfinished, match="1999 of 2000 bytes"):
        uploads(root).find_upload(upload_id, OWNER)


def test_death_between_ticket_and_store_loses_nothing(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    kept = uploads(root)
    ticket = kept.look_up(upload_id, OWNER).ticket.model_copy(update={"sha256": SHA256})
    kept.mark(upload_id, ticket, unverified_from=None)
    assert uploads(root).find_upload(upload_id, OWNER).sha256 == SHA256
    assert root.slide_of(SHA256).read_bytes() == SLIDE


def test_a_whole_upload_that_is_no_slide_is_removed(root: DataRoot) -> None:
    upload_id = with_bytes(root, b"%PDF-", length=5)
    with pytest.raises(UnsupportedUpload, match="a PDF document"):
        uploads(root).find_upload(upload_id, OWNER)
    assert names(root) == []


def test_an_upload_whose_slide_was_removed_since_is_not_found(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    uploads(root).find_upload(upload_id, OWNER)
    root.slide_of(SHA256).unlink()
    with pytest.raises(UploadNotFound):
        uploads(root).find_upload(upload_id, OWNER)


def test_removing_a_finished_upload_keeps_its_slide(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    uploads(root).find_upload(upload_id, OWNER)
    uploads(root).remove(upload_id, OWNER)
    assert names(root) == []
    assert root.slide_of(SHA256).exists()


@pytest.mark.parametrize("content", [SLIDE[:700], SLIDE])
@pytest.mark.parametrize(("expires_s", "expired"), [(90, True), (110, False)])
def test_an_upload_without_news_expires(
    root: DataRoot, content: bytes, expires_s: float, expired: bool
) -> None:
    upload_id = with_bytes(root, content)
    if content == SLIDE:
        uploads(root).find_upload(upload_id, OWNER)
    before = names(root)
    age(root, 100)
    kept = uploads(root, expires_s=expires_s)
    if expired:
        with pytest.raises(UploadExpired):
            kept.look_up(upload_id, OWNER)
    else:
        kept.look_up(upload_id, OWNER)
    assert kept.remove_expired() == (len(before) if expired else 0)
    assert names(root) == ([] if expired else before)


def test_an_upload_that_is_being_written_does_not_expire(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE[:700])
    with uploads(root).write(upload_id, OWNER):
        age(root, 1e6)
        assert uploads(root).remove_expired() == 0
    assert names(root) == [".json", ".tus"]


def test_a_ticket_that_was_half_written_expires_too(root: DataRoot) -> None:
    (root.uploads / f"{'0' * 32}.new").write_bytes(b"{")
    (root.uploads / f"{'1' * 32}.json").write_bytes(b"{")
    (root.uploads / "other.partial").touch()
    age(root, 1e6)
    assert uploads(root).remove_expired() == 2
    assert names(root) == [".partial"]


def test_a_ticket_that_cannot_be_read_is_no_upload(root: DataRoot) -> None:
    upload_id = with_bytes(root, SLIDE)
    (root.uploads / f"{upload_id}.json").write_bytes(b"{")
    with pytest.raises(UploadNotFound):
        uploads(root).look_up(upload_id, OWNER)


def test_a_slide_that_others_sent_before_is_kept_once(root: DataRoot) -> None:
    other = root.uploads / "x"
    other.write_bytes(SLIDE)
    place_slide(root, other, SHA256)
    upload_id = with_bytes(root, SLIDE)
    assert uploads(root).find_upload(upload_id, OWNER).sha256 == SHA256
    assert names(root) == [".json"]
