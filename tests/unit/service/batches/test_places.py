from pathlib import Path

import pytest

from service.batches.places import SlidePlaces, SourceRefused
from tests.batches import write_slides


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    write_slides(root, ["a b.svs"])
    return root


@pytest.mark.parametrize(
    "form", ["{}/a b.svs", "file://{}/a%20b.svs", "file://localhost{}/a b.svs"]
)
def test_a_file_is_found_by_path_or_file_uri(archive, form):
    assert SlidePlaces((archive,)).locate_file(form.format(archive)) == archive / "a b.svs"


@pytest.mark.parametrize(
    "form",
    ["{}/../x.svs", "{}-2/x.svs", "/etc/passwd", "x.svs", "http://h{}/a.svs", "file://h{}/a"],
)
def test_nothing_else_is_looked_at(archive, form):
    places = SlidePlaces((archive,))
    with pytest.raises(SourceRefused) as refused:
        places.locate(form.format(archive))
    assert str(archive) not in str(refused.value)


def test_without_slide_roots_nothing_is_allowed(archive):
    with pytest.raises(SourceRefused, match="SMEARSCAN_SLIDE_ROOTS"):
        SlidePlaces(()).locate(str(archive))
