import os
from pathlib import Path

import pytest

from service.contract.viewing import SlideReference, ViewingCode
from worker.viewer.permission import SlideRoots
from worker.viewer.slide_process import ViewingFailed


def reference(path: Path | str, **known: object) -> SlideReference:
    return SlideReference.model_validate({"path": str(path), "sha256": "0" * 64, **known})


def refusal(roots: SlideRoots, slide: SlideReference) -> ViewingCode:
    with pytest.raises(ViewingFailed) as caught:
        roots.resolve(slide)
    assert "/" not in caught.value.problem.message
    return caught.value.problem.code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "slides"
    root.mkdir()
    (root / "slide.tiff").write_bytes(b"a slide")
    (tmp_path / "secret").write_bytes(b"a secret")
    (tmp_path / "slides-of-others").mkdir()
    (tmp_path / "slides-of-others" / "slide.tiff").write_bytes(b"theirs")
    return root


def test_a_file_under_a_root_is_resolved(root):
    slide, status = SlideRoots([root]).resolve(reference(root / "slide.tiff"))
    assert Path(slide.path) == (root / "slide.tiff").resolve()
    assert status.st_size == 7


def test_a_root_may_be_a_link_itself(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    slide, _ = SlideRoots([tmp_path / "link"]).resolve(reference(tmp_path / "link" / "slide.tiff"))
    assert Path(slide.path) == root.resolve() / "slide.tiff"


def test_a_link_that_stays_under_the_roots_is_followed(root):
    (root / "link.tiff").symlink_to("slide.tiff")
    slide, _ = SlideRoots([root]).resolve(reference(root / "link.tiff"))
    assert Path(slide.path).name == "slide.tiff"


def test_paths_that_lead_out_are_refused(root, tmp_path):
    roots = SlideRoots([root])
    (root / "out.tiff").symlink_to(tmp_path / "secret")
    (root / "out").symlink_to(tmp_path)
    outside = [
        tmp_path / "secret",
        root / ".." / "secret",
        root / "out.tiff",
        root / "out" / "secret",
        tmp_path / "slides-of-others" / "slide.tiff",
        "/etc/passwd",
        "slides/slide.tiff",
        f"{root}/slide.tiff\0.jpg",
    ]
    assert {refusal(roots, reference(path)) for path in outside} == {ViewingCode.SLIDE_REFUSED}


def test_what_is_no_regular_file_is_refused_without_opening_it(root):
    os.mkfifo(root / "pipe.tiff")
    (root / "folder").mkdir()
    roots = SlideRoots([root])
    for name in ("pipe.tiff", "folder", "."):
        assert refusal(roots, reference(root / name)) is ViewingCode.SLIDE_REFUSED


def test_a_file_that_was_removed_is_gone(root):
    assert refusal(SlideRoots([root]), reference(root / "x.tiff")) is ViewingCode.SLIDE_GONE


def test_a_link_to_itself_is_gone(root):
    (root / "loop").symlink_to("loop")
    assert refusal(SlideRoots([root]), reference(root / "loop")) is ViewingCode.SLIDE_GONE


@pytest.mark.parametrize(("size", "gone"), [(7, False), (8, True), (6, True)])
def test_a_file_of_another_size_is_another_slide(root, size, gone):
    slide = reference(root / "slide.tiff", size_bytes=size)
    if gone:
        assert refusal(SlideRoots([root]), slide) is ViewingCode.SLIDE_GONE
    else:
        assert SlideRoots([root]).resolve(slide)


def test_without_roots_nothing_is_read(root):
    assert refusal(SlideRoots([]), reference(root / "slide.tiff")) is ViewingCode.SLIDE_REFUSED
