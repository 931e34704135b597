import os
from pathlib import Path

import pytest

from service.intake.errors import (
    IntakeError,
    ReferenceForbidden,
    ReferenceMissing,
    ReferenceRefused,
    SlideTooLarge,
)
from service.intake.references import open_check, resolve_reference
from service.settings import ServiceSettings


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """`roots/slide.svs` and `roots/deep/größe 1.svs` may be read, `elsewhere.svs` may not."""
    (tmp_path / "roots" / "deep").mkdir(parents=True)
    for name in ("roots/slide.svs", "roots/deep/größe 1.svs", "elsewhere.svs", "roots2.svs"):
        (tmp_path / name).write_bytes(b"II*\0 slide")
    return tmp_path / "roots"


def settings(roots: Path, **others: int) -> ServiceSettings:
    return ServiceSettings(slide_roots=(roots,), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("{}/slide.svs", "slide.svs"),
        ("file://{}/slide.svs", "slide.svs"),
        ("file://localhost{}/slide.svs", "slide.svs"),
        ("file://{}/deep/gr%C3%B6%C3%9Fe%201.svs", "deep/größe 1.svs"),
        ("{}/deep/größe 1.svs", "deep/größe 1.svs"),
        ("{}/deep/../slide.svs", "slide.svs"),
    ],
)
def test_a_file_below_a_root_is_found(roots: Path, uri: str, name: str) -> None:
    found = resolve_reference(uri.format(roots), settings(roots))
    assert found.path == roots.resolve() / name
    assert found.size_bytes == 10
    assert found.mtime_ns == (roots / name).stat().st_mtime_ns


@pytest.mark.parametrize(
    "uri",
    [
        "{}/../elsewhere.svs",
        "file://{}/%2e%2e/elsewhere.svs",
        "{}2.svs",
        "{}/../nothing-here",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
    ],
)
def test_what_is_elsewhere_is_forbidden_whether_it_is_there_or_not(roots: Path, uri: str) -> None:
    with pytest.raises(ReferenceForbidden) as caught:
        resolve_reference(uri.format(roots), settings(roots))
    assert str(roots) not in caught.value.message


def test_a_link_that_leads_out_of_the_roots_is_forbidden(roots: Path) -> None:
    (roots / "out.svs").symlink_to(roots.parent / "elsewhere.svs")
    (roots / "up").symlink_to(roots.parent)
    (roots / "nowhere").symlink_to("/nonexistent/slide.svs")
    for name in ("out.svs", "up/elsewhere.svs", "nowhere"):
        with pytest.raises(ReferenceForbidden):
            resolve_reference(f"{roots}/{name}", settings(roots))


def test_a_link_that_stays_below_a_root_is_followed(roots: Path) -> None:
    (roots / "same.svs").symlink_to("slide.svs")
    found = resolve_reference(f"{roots}/same.svs", settings(roots))
    assert found.path == roots.resolve() / "slide.svs"


def test_a_root_may_itself_be_a_link(roots: Path) -> None:
    link = roots.parent / "link"
    link.symlink_to(roots)
    assert resolve_reference(f"{link}/slide.svs", settings(link)).size_bytes == 10


def test_a_directory_that_became_a_link_after_the_request_is_noticed(roots: Path) -> None:
    found = resolve_reference(f"{roots}/deep/größe 1.svs", settings(roots)).path
    assert found is not None
    assert open_check(found, (roots,)) == found
    (roots / "deep").rename(roots / "old")
    (roots.parent / "größe 1.svs").write_bytes(b"another")
    (roots / "deep").symlink_to(roots.parent)
    with pytest.raises(ReferenceForbidden):
        open_check(found, (roots,))


@pytest.mark.parametrize("kind", ["fifo", "directory", "missing", "loop", "long", "nul"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(roots: Path, kind: str) -> None:
    name = {"long": "x" * 300, "nul": "a%00b"}.get(kind, kind)
    if kind == "fifo":
        os.mkfifo(roots / "fifo")
    if kind == "directory":
        (roots / "directory").mkdir()
    if kind == "loop":
        (roots / "loop").symlink_to("loop")
    with pytest.raises(ReferenceMissing):
        resolve_reference(f"file://{roots}/{name}", settings(roots))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "slide.svs",
        "../slide.svs",
        "http://127.0.0.1/slide.svs",
        "ftp://host/slide.svs",
        "file://host/slide.svs",
        "file:slide.svs",
        "file:///slide.svs?x=1",
        "file://[",
        "gs://bucket/slide.svs",
        "s3://",
        "s3://bucket",
        "s3://bucket/../other/key",
        "s3://bucket/a//b",
        "s3://b?x/key",
        "/" + "x" * 4096,
    ],
)
def test_what_is_no_uri_of_a_slide_is_refused(roots: Path, uri: str) -> None:
    with pytest.raises(ReferenceRefused) as caught:
        resolve_reference(uri, settings(roots))
    assert caught.value.code == "slide_uri_invalid"
    assert str(roots) not in caught.value.message


def test_without_settings_nothing_may_be_read(roots: Path) -> None:
    for uri in (f"{roots}/slide.svs", "s3://bucket/key.svs"):
        with pytest.raises(ReferenceForbidden):
            resolve_reference(uri, ServiceSettings())


def test_a_slide_of_the_largest_size_is_taken_and_one_byte_more_is_not(roots: Path) -> None:
    uri = f"{roots}/slide.svs"
    assert resolve_reference(uri, settings(roots, max_slide_bytes=10)).size_bytes == 10
    with pytest.raises(SlideTooLarge):
        resolve_reference(uri, settings(roots, max_slide_bytes=9))


@pytest.mark.parametrize("uri", ["\0", "/\ud800", "file:///%FF", "/\u3000"])
def test_odd_characters_are_no_accident(roots: Path, uri: str) -> None:
    with pytest.raises(IntakeError):
        resolve_reference(uri, settings(roots))
