import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.intake.errors import (
    IntakeError,
    MalformedUpload,
    MetadataTooLarge,
    SlideMissing,
    SlideTooLarge,
    WrongContentType,
)
from service.intake.form import SlideForm, plain_filename, read_boundary
from service.intake.partial import Partial
from service.layout import DataRoot
from tests.slide_bytes import limits, slide_bytes

SLIDE = slide_bytes(3000)


def part(name: str, content: bytes, *, filename: str | None = None, more: str = "") -> bytes:
    named = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        named += f'; filename="{filename}"'
    return f"--B\r\n{named}\r\n{more}\r\n".encode() + content + b"\r\n"


END = b"--B--\r\n"


def form(root: DataRoot, **others: object) -> SlideForm:
    partial = Partial(root, limits())
    partial.open()
    defaults = {"max_form_bytes": 100_000, "max_metadata_bytes": 100}
    return SlideForm(b"B", partial, **{**defaults, **others})  # type: ignore[arg-type]


def stored_bytes(taken: SlideForm, body: bytes, step: int = 1 << 16) -> bytes:
    taken.feed([body[i : i + step] for i in range(0, len(body), step)])
    return taken.finish().path.read_bytes()


@pytest.mark.parametrize("slide_first", [True, False])
def test_parts_come_in_any_order(root: DataRoot, slide_first: bool) -> None:
    parts = [part("slide", SLIDE, filename="a.svs"), part("metadata", b'{"a": 1}')]
    taken = form(root)
    assert stored_bytes(taken, b"".join(parts if slide_first else parts[::-1]) + END) == SLIDE
    assert taken.metadata == b'{"a": 1}'
    assert taken.filename == "a.svs"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1000])
def test_it_does_not_matter_where_the_network_cuts(root: DataRoot, step: int) -> None:
    tricky = b"II*\0" + b"\r\n--b\r\n--\r\n-\r\r\n--\rB\r\n\r\n" * 50 + b"\r\n--\r"
    assert stored_bytes(form(root), part("slide", tricky) + END, step) == tricky


def test_metadata_are_optional(root: DataRoot) -> None:
    taken = form(root)
    stored_bytes(taken, part("slide", SLIDE) + END)
    assert taken.metadata is None
    assert taken.filename is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), max_size=8))
def test_any_bytes_come_out_as_they_went_in(
    root: DataRoot, content: bytes, cuts: list[int]
) -> None:
    content = b"II*\0" + content.replace(b"\r\n--B", b"")
    body = part("slide", content) + END
    chunks = []
    for cut in cuts:
        chunks.append(body[:cut])
        body = body[cut:]
    taken = form(root)
    taken.feed([*chunks, body])
    assert taken.finish().sha256 == hashlib.sha256(content).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused_and_nothing_else_happens(
    root: DataRoot, garbage: bytes, begun: bool
) -> None:
    taken = form(root)
    body = (part("slide", SLIDE)[:-2] + garbage) if begun else garbage
    with pytest.raises(IntakeError):
        taken.feed([body])
        taken.finish()
    taken._partial.discard()
    assert list(root.uploads.iterdir()) == []


def test_metadata_of_the_largest_size_are_taken_and_one_byte_more_is_not(root: DataRoot) -> None:
    taken = form(root)
    taken.feed([part("metadata", b"m" * 100)])
    with pytest.raises(MetadataTooLarge, match="100 bytes"):
        form(root).feed([part("metadata", b"m" * 101)])


def test_a_form_of_the_largest_size_is_taken_and_one_byte_more_is_not(root: DataRoot) -> None:
    body = part("slide", SLIDE) + END
    form(root, max_form_bytes=len(body)).feed([body])
    with pytest.raises(SlideTooLarge):
        form(root, max_form_bytes=len(body) - 1).feed([body])


def test_metadata_that_come_first_are_judged_before_the_slide(root: DataRoot) -> None:
    seen: list[bytes] = []

    def refuse(metadata: bytes) -> None:
        seen.append(metadata)
        raise ValueError("no")

    taken = form(root, check_metadata=refuse)
    with pytest.raises(ValueError, match="no"):
        taken.feed([part("metadata", b"{}") + b"--B\r\n"])
    assert seen == [b"{}"]


def test_a_form_without_a_slide_is_refused(root: DataRoot) -> None:
    taken = form(root)
    taken.feed([part("metadata", b"{}") + END])
    with pytest.raises(SlideMissing):
        taken.finish()


@pytest.mark.parametrize("body", [b"", b"--B\r\n", part("slide", SLIDE), part("slide", SLIDE)[:50]])
def test_a_form_without_its_end_is_refused(root: DataRoot, body: bytes) -> None:
    taken = form(root)
    taken.feed([body])
    with pytest.raises(MalformedUpload, match=f"breaks off after {len(body)} bytes"):
        taken.finish()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"--C\r\n", "cannot be read after 0 bytes"),
        (b"no form at all", "cannot be read"),
        (part("slide", SLIDE) + part("slide", SLIDE), "two parts 'slide'"),
        (part("metadata", b"") + part("metadata", b""), "two parts 'metadata'"),
        (part("other", b""), "a part 'other'"),
        (b"--B\r\nContent-Type: image/tiff\r\n\r\n", "no Content-Disposition"),
        (b'--B\r\nContent-Disposition: attachment; name="slide"\r\n\r\n', "no Content-Disposition"),
        (b"--B\r\nContent-Disposition: form-data\r\n\r\n", "no Content-Disposition"),
        (part("slide", b"SUkqAA", more="Content-Transfer-Encoding: base64\r\n"), "'base64'"),
        (part("slide", b"", more="X: a\r\nX: b\r\n"), "same header twice"),
        (part("slide", b"", more=f"X: {'a' * 5000}\r\n"), "cannot be read"),
        (part("slide", b"", more="".join(f"X{i}: a\r\n" for i in range(9))), "cannot be read"),
        (b"--B\r\nContent-Disposition: form-data;\r\n name=slide\r\n\r\n", "cannot be read"),
    ],
)
def test_what_is_not_the_form_is_refused_at_once(root: DataRoot, body: bytes, reason: str) -> None:
    with pytest.raises(MalformedUpload, match=reason):
        form(root).feed([body])


def test_ten_thousand_parts_are_refused_at_the_second(root: DataRoot) -> None:
    many = b"".join(part(f"p{i}", b"x") for i in range(10_000))
    with pytest.raises(MalformedUpload, match="a part 'p0'"):
        form(root, max_form_bytes=10 * len(many)).feed([many])


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"slide.svs", "slide.svs"),
        (b"../../etc/passwd", "passwd"),
        (b"C:\\scans\\slide.ndpi", "slide.ndpi"),
        (b"/", None),
        (b"..", None),
        (b"", None),
        (b"a\x00b\r\nc\x1b[31m.svs", "abc[31m.svs"),
        (b"\xff.svs", "\ufffd.svs"),
        ("Größe 😐.svs".encode(), "Größe 😐.svs"),
        (b"x" * 300, "x" * 255),
    ],
)
def test_a_file_name_is_only_a_name(sent: bytes, name: str | None) -> None:
    assert plain_filename(sent) == name


@pytest.mark.parametrize("length", [1, 70])
def test_a_boundary_of_allowed_length_is_read(length: int) -> None:
    assert read_boundary(f'multipart/form-data; boundary="{"b" * length}"') == b"b" * length


@pytest.mark.parametrize("ending", ["", "; boundary=", f"; boundary={'b' * 71}"])
def test_a_boundary_that_is_missing_or_too_long_is_refused(ending: str) -> None:
    with pytest.raises(MalformedUpload, match="the boundary"):
        read_boundary("multipart/form-data" + ending)


@pytest.mark.parametrize("sent", ["", "application/json", "multipart/mixed; boundary=B"])
def test_what_is_no_form_is_refused(sent: str) -> None:
    with pytest.raises(WrongContentType, match="multipart/form-data"):
        read_boundary(sent)
