import os
import tempfile
from pathlib import Path

import pytest

from service.batches.places import SlidePlaces
from service.batches.walk import Walk
from tests.batches import write_slides


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    return root


def found_in(root: Path, **options) -> tuple[list[str], list[str], Walk]:
    """Slides below a root, and what failed there; by their paths below it."""
    walk = Walk(SlidePlaces((root,)), **options)
    items = [item for item in walk.slides(root) if item is not None]
    good = [os.path.relpath(i.slide_uri, root) for i in items if i.failure is None]
    bad = [os.path.relpath(i.slide_uri, root) for i in items if i.failure is not None]
    return good, bad, walk


def test_slides_come_in_the_same_order_each_time(archive):
    write_slides(archive, ["b/2.svs", "a/1.svs", "c.svs", "B.tif", "b/a/0.svs"])
    good, _, _ = found_in(archive)
    assert good == ["B.tif", "c.svs", "a/1.svs", "b/2.svs", "b/a/0.svs"]


@pytest.mark.parametrize(
    "name", [".a.svs", "._a.svs", "~$a.svs", "a.svs.part", "a.svs.tmp", "a.xml", "a", "svs"]
)
def test_hidden_partial_and_other_files_are_passed_over_and_counted(archive, name):
    write_slides(archive, [name, "b.svs"])
    good, bad, walk = found_in(archive)
    assert (good, bad, walk.passed_over) == (["b.svs"], [], 1)


def test_hidden_directories_are_passed_over(archive):
    write_slides(archive, [".snapshot/a.svs", "b.svs"])
    good, _, walk = found_in(archive)
    assert (good, walk.passed_over) == (["b.svs"], 1)


def test_a_loop_of_links_ends(archive):
    write_slides(archive, ["a/1.svs", "b/2.svs"])
    (archive / "a" / "up").symlink_to(archive)
    (archive / "a" / "to-b").symlink_to(archive / "b")
    (archive / "b" / "to-a").symlink_to(archive / "a")
    (archive / "b" / "self").symlink_to(archive / "b" / "self")
    good, bad, walk = found_in(archive)
    assert (sorted(good), bad) == (["a/1.svs", "b/2.svs"], [])
    assert walk.passed_over == 1


def test_a_slide_is_known_by_its_path_without_links(archive):
    write_slides(archive, ["a/1.svs"])
    (archive / "b.svs").symlink_to(archive / "a" / "1.svs")
    good, _, _ = found_in(archive)
    assert good == ["a/1.svs", "a/1.svs"]


def test_links_that_lead_out_of_the_roots_are_named_and_not_followed(archive, tmp_path):
    write_slides(tmp_path, ["other/secret.svs"])
    (archive / "out").symlink_to(tmp_path / "other")
    (archive / "out.svs").symlink_to(tmp_path / "other" / "secret.svs")
    assert found_in(archive)[:2] == ([], ["out", "out.svs"])


def test_a_directory_that_cannot_be_read_is_named_and_stops_nothing():
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else for a moment")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        write_slides(root, ["a/1.svs", "closed/2.svs", "z/3.svs"])
        (root / "closed").chmod(0o700)
        os.seteuid(65_534)
        try:
            good, bad, _ = found_in(root)
        finally:
            os.seteuid(0)
    assert (good, bad) == (["a/1.svs", "z/3.svs"], ["closed"])


def test_a_name_that_is_not_utf8_is_named_as_well_as_can_be(archive):
    (archive / os.fsdecode(b"caf\xe9.svs")).write_bytes(b"x")
    (archive / "naïve.svs").write_bytes(b"x")
    assert found_in(archive)[:2] == (["naïve.svs"], ["caf\\xe9.svs"])
