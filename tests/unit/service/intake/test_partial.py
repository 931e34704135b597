import hashlib
import os
import time
from pathlib import Path

import pytest

from service.intake.errors import SlideTooLarge, StorageFull, UnsupportedUpload
from service.intake.partial import Partial, remove_stale_partials
from service.layout import DataRoot
from tests.slide_bytes import limits, slide_bytes


def opened(root: DataRoot, **others: float) -> Partial:
    partial = Partial(root, limits(**others))
    partial.open()
    return partial


def only(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_a_slide_in_pieces_is_stored_whole_under_its_hash_for_its_owner_alone(
    root: DataRoot,
) -> None:
    content = slide_bytes(5000)
    partial = opened(root)
    for start in range(0, 5000, 700):
        partial.append([memoryview(content)[start : start + 700]])
    stored = partial.keep()
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.path.read_bytes() == content
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert list(root.uploads.iterdir()) == []


def test_a_slide_of_the_largest_size_is_taken_and_one_byte_more_is_not(root: DataRoot) -> None:
    content = slide_bytes(1001)
    partial = opened(root, max_slide_bytes=1000)
    partial.append([memoryview(content)[:1000]])
    with pytest.raises(SlideTooLarge) as caught:
        partial.append([memoryview(content)[1000:]])
    assert (caught.value.size_bytes, caught.value.limit) == (1001, 1000)
    partial.discard()
    partial = opened(root, max_slide_bytes=1000)
    partial.append([memoryview(content)[:1000]])
    assert partial.keep().size_bytes == 1000


def test_what_is_not_a_slide_is_refused_at_its_512th_byte(root: DataRoot) -> None:
    partial = opened(root)
    partial.append([memoryview(b"%PDF-" + bytes(506))])
    with pytest.raises(UnsupportedUpload, match="a PDF document"):
        partial.append([memoryview(b"\0")])


def test_what_is_shorter_is_judged_at_its_end(root: DataRoot) -> None:
    partial = opened(root)
    partial.append([memoryview(b"%PDF-")])
    with pytest.raises(UnsupportedUpload, match="a PDF document"):
        partial.keep()


def test_an_empty_file_is_refused(root: DataRoot) -> None:
    with pytest.raises(UnsupportedUpload, match="empty"):
        opened(root).keep()


def test_what_is_discarded_leaves_nothing_and_takes_nothing_more(root: DataRoot) -> None:
    partial = opened(root)
    partial.append([memoryview(slide_bytes(1000))])
    partial.discard()
    partial.append([memoryview(b"late")])
    partial.discard()
    partial.open()
    assert list(root.uploads.iterdir()) == []


def test_what_is_kept_cannot_be_discarded(root: DataRoot) -> None:
    partial = opened(root)
    partial.append([memoryview(slide_bytes(1000))])
    stored = partial.keep()
    partial.discard()
    assert stored.path.exists()


def test_more_than_the_disk_can_hold_is_refused_before_it_is_sent(root: DataRoot) -> None:
    with pytest.raises(StorageFull):
        Partial(root, limits()).open(expected_bytes=1 << 60)
    assert list(root.uploads.iterdir()) == []


@pytest.mark.parametrize(("older_than_s", "removed"), [(90, 1), (110, 0)])
def test_what_a_killed_process_left_is_removed_once_it_is_old(
    root: DataRoot, older_than_s: float, removed: int
) -> None:
    left = root.uploads / "0123.partial"
    left.write_bytes(b"II*\0")
    then = time.time() - 100
    os.utime(left, (then, then))
    assert remove_stale_partials(root, older_than_s) == removed
    assert left.exists() is not bool(removed)


def test_a_partial_that_is_open_is_never_removed_however_old(root: DataRoot) -> None:
    partial = opened(root)
    partial.append([memoryview(slide_bytes(1000))])
    os.utime(only(root.uploads), (0, 0))
    assert remove_stale_partials(root, 0) == 0
    assert partial.keep().path.exists()


def test_only_partials_are_removed(root: DataRoot) -> None:
    other = root.uploads / "0123.tus"
    other.touch()
    os.utime(other, (0, 0))
    assert remove_stale_partials(root, 0) == 0
    assert other.exists()
