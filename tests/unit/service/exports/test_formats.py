import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.exports.formats import FORMATS, find_format
from service.exports.labels import Labels
from tests.golden import golden_report
from worker.results import RESULT_FILES


def found(accept: str) -> str | None:
    export = find_format(accept)
    return None if export is None else export.suffix


def test_every_promised_suffix_is_there() -> None:
    assert set(FORMATS) == {"json", "html", "csv", "geojson", "parquet", "fhir.json", "hl7"}


@pytest.mark.parametrize("export", FORMATS.values(), ids=FORMATS)
def test_a_format_is_either_stored_or_rendered(export) -> None:  # type: ignore[no-untyped-def]
    assert (export.file is None) != (export.render is None)


def test_a_stored_format_is_a_file_that_the_worker_writes() -> None:
    stored = {export.file for export in FORMATS.values() if export.file is not None}
    assert stored <= set(RESULT_FILES)


@pytest.mark.parametrize("suffix", ["fhir.json", "hl7"])
def test_a_rendered_format_writes_a_report(suffix: str) -> None:
    render = FORMATS[suffix].render
    assert render is not None
    stream = io.StringIO(newline="")
    render(golden_report(), Labels(accession="A24-0815"), stream)
    assert "A24-0815" in stream.getvalue()


@pytest.mark.parametrize("export", FORMATS.values(), ids=FORMATS)
def test_a_media_type_finds_its_format(export) -> None:  # type: ignore[no-untyped-def]
    assert find_format(export.media_type) is export
    assert find_format(export.content_type) is export


@pytest.mark.parametrize(
    ("accept", "suffix"),
    [
        ("*/*", "json"),
        ("", "json"),
        (" , ", "json"),
        ("application/*", "json"),
        ("text/*", "html"),
        ("TEXT/CSV", "csv"),
        ("text/csv;charset=UTF-8", "csv"),
        ('text/csv; charset="utf-8"', "csv"),
        ("application/fhir+json; fhirVersion=4.0", "fhir.json"),
        # a browser, and a FHIR client
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/fhir+json, application/json;q=0.9, */*;q=0.1", "fhir.json"),
    ],
)
def test_what_clients_send_finds_what_they_mean(accept: str, suffix: str) -> None:
    assert found(accept) == suffix


@pytest.mark.parametrize(
    ("accept", "suffix"),
    [
        ("text/csv;q=0.4, application/hl7-v2;q=0.5", "hl7"),
        ("text/csv;q=0.5, application/hl7-v2;q=0.4", "csv"),
        ("text/csv;q=0.001", "csv"),
        ("text/csv;q=0.000", None),
        ("text/csv;q=0", None),
        ("*/*;q=0", None),
        ("*/*, application/json;q=0", "html"),
        ("application/*;q=0, */*;q=0.1", "html"),
        ("application/json;q=0.1, */*;q=0.9", "html"),
        ("*/*;q=0.9, application/json;q=0.1", "html"),
        ("text/csv ; q=1.000", "csv"),
        ("text/csv;Q=0.5, text/html;q=0.4", "csv"),
    ],
)
def test_the_greatest_quality_wins_and_zero_refuses(accept: str, suffix: str | None) -> None:
    assert found(accept) == suffix


@pytest.mark.parametrize(
    ("accept", "suffix"),
    [
        ("text/csv, application/json", "csv"),
        ("application/json, text/csv", "json"),
        ("*/*, text/csv", "csv"),
        ("*/*, text/*", "html"),
    ],
)
def test_among_equals_the_more_precise_then_the_earlier_wins(accept: str, suffix: str) -> None:
    assert found(accept) == suffix


@pytest.mark.parametrize(
    "accept", ["image/png", "text/html;level=1", "application/fhir+json;fhirVersion=5.0"]
)
def test_what_the_service_does_not_have_is_not_found(accept: str) -> None:
    assert found(accept) is None


@pytest.mark.parametrize(
    "element",
    [
        "csv",
        "text",
        "text/",
        "/csv",
        "*/csv",
        "text/csv/x",
        "text /csv",
        "text/csv;q",
        "text/csv;q=",
        "text/csv;q=2",
        "text/csv;q=1.001",
        "text/csv;q=-1",
        "text/csv;q=0.1234",
        "text/csv;q=nan",
        'text/csv;q="1"',
        "text/csv q=1",
        "text/csv;charset",
        'text/csv;charset="utf-8',
        "text/cs\x00v",
        "téxt/csv",
    ],
)
def test_an_element_that_breaks_the_grammar_is_skipped(element: str) -> None:
    assert found(element) is None
    assert found(f"application/hl7-v2;q=0.1, {element}") == "hl7"


def test_commas_and_semicolons_in_quotes_separate_nothing() -> None:
    assert found(r'image/png;x="a, text/csv;q=1, \", text/csv"') is None
    assert found('image/png;x="a,b", text/csv') == "csv"


@pytest.mark.parametrize("piece", ['"', '\\"', '"\\', "a,", ";", " ", "*/*;", 'a/b;c="'])
def test_a_header_as_long_as_servers_let_through_is_answered(piece: str) -> None:
    find_format(piece * (65_536 // len(piece)))
    find_format('"' + piece * (65_536 // len(piece)) + "\\")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_answered(accept: str) -> None:
    assert find_format(accept) in {None, *FORMATS.values()}


@settings(deadline=None)
@given(st.text(alphabet='*/;,=q0.15" \\abcsvtex'))
def test_any_text_of_the_grammars_characters_is_answered(accept: str) -> None:
    assert find_format(accept) in {None, *FORMATS.values()}
