import os
from pathlib import Path

import pytest

from service.batches.slides import find_slide
from service.contract.failure import Failure
from service.settings import ServiceSettings
from service.store.creation import SlideSource
from tests.batches import write_slides


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    (tmp_path / "archive").mkdir()
    return ServiceSettings(slide_roots=(tmp_path / "archive",), max_slide_bytes=10)


def test_a_slide_is_told_from_the_one_before_by_its_size_and_time(settings):
    (path,) = write_slides(settings.slide_roots[0], ["a.svs"])
    state = Path(path).stat()
    assert find_slide(path, settings) == SlideSource(
        state.st_size, uri=path, version=str(state.st_mtime_ns)
    )


@pytest.mark.parametrize(("size", "is_one"), [(0, False), (1, True), (10, True), (11, False)])
def test_empty_and_too_large_files_are_no_slides(settings, size, is_one):
    path = settings.slide_roots[0] / "a.svs"
    path.write_bytes(b"x" * size)
    assert isinstance(find_slide(str(path), settings), Failure) is not is_one


def test_what_is_no_file_is_no_slide(settings):
    os.mkfifo(settings.slide_roots[0] / "pipe.svs")
    for name in ("pipe.svs", "missing.svs", "../x.svs"):
        found = find_slide(str(settings.slide_roots[0] / name), settings)
        assert isinstance(found, Failure)
        assert found.code == "slide_unreadable"
        assert str(settings.slide_roots[0]) not in found.message
