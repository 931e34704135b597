import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from service.intake.errors import StorageFull
from service.intake.storage import (
    check_space,
    place_slide,
    remove_slide,
    storage_errors,
    touch_slide,
)
from service.layout import DataRoot

CONTENT = b"II*\0 a slide"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def arrived(root: DataRoot, name: str = "a") -> Path:
    path = root.uploads / name
    path.write_bytes(CONTENT)
    return path


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_slide_lies_where_its_content_says(root: DataRoot) -> None:
    stored = place_slide(root, arrived(root), SHA256)
    assert stored.path == root.slides / SHA256[:2] / SHA256
    assert stored.path.read_bytes() == CONTENT
    assert (stored.size_bytes, stored.already_stored) == (len(CONTENT), False)
    assert list(root.uploads.iterdir()) == []


def test_a_slide_that_is_there_is_kept_as_the_file_it_was(root: DataRoot) -> None:
    first = place_slide(root, arrived(root), SHA256)
    number = first.path.stat().st_ino
    again = place_slide(root, arrived(root, "b"), SHA256)
    assert again.already_stored
    assert again.path.stat().st_ino == number
    assert list(root.uploads.iterdir()) == []


def test_a_stored_slide_that_was_cut_short_is_replaced(root: DataRoot) -> None:
    path = place_slide(root, arrived(root), SHA256).path
    path.write_bytes(CONTENT[:-1])
    assert not place_slide(root, arrived(root), SHA256).already_stored
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("untouched_s", "removed"), [(90, True), (110, False)])
def test_a_slide_is_removed_only_after_it_lay_untouched(
    root: DataRoot, untouched_s: float, removed: bool
) -> None:
    path = place_slide(root, arrived(root), SHA256).path
    age(path, 100)
    assert remove_slide(root, SHA256, untouched_s=untouched_s) is removed
    assert path.exists() is not removed


def test_a_slide_that_is_sent_again_is_not_removed(root: DataRoot) -> None:
    age(place_slide(root, arrived(root), SHA256).path, 1000)
    place_slide(root, arrived(root), SHA256)
    assert not remove_slide(root, SHA256, untouched_s=100)


def test_a_slide_that_is_touched_is_not_removed(root: DataRoot) -> None:
    age(place_slide(root, arrived(root), SHA256).path, 1000)
    assert touch_slide(root, SHA256)
    assert not remove_slide(root, SHA256, untouched_s=100)


def test_a_slide_that_is_not_there_is_neither_touched_nor_removed(root: DataRoot) -> None:
    assert not touch_slide(root, SHA256)
    assert not remove_slide(root, SHA256, untouched_s=0)
    (root.slides / SHA256[:2]).mkdir()
    assert not touch_slide(root, SHA256)
    assert not remove_slide(root, SHA256, untouched_s=0)


def test_space_that_is_left_is_enough_and_one_block_less_is_not(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    half = state.f_bavail * state.f_frsize // 2
    check_space(tmp_path, half, half // 2)
    with pytest.raises(StorageFull, match=f"{half} bytes are kept free"):
        check_space(tmp_path, half, 2 * half)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_a_quota_and_a_file_size_limit_are_full_storage(number: int) -> None:
    with pytest.raises(StorageFull), storage_errors(7):
        raise OSError(number, "")


def test_other_errors_of_the_disk_are_not_full_storage() -> None:
    with pytest.raises(OSError, match="broken"), storage_errors(7):
        raise OSError(errno.EIO, "broken")
