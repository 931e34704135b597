"""docs/exports.md says what the exports do."""

import io
import json
import re
from pathlib import Path

import pytest

from service.exports.csv import write_csv
from service.exports.formats import FORMATS, ExportFormat
from service.exports.geojson import write_geojson
from service.exports.observation import list_observations
from tests.analyses import report_of
from tests.exported import REPORTS
from tests.golden import CELLS, golden_fhir, golden_hl7

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "exports.md").read_text("utf-8")
REPORT, TABLE = report_of(CELLS)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("export", FORMATS.values(), ids=FORMATS)
def test_every_format_has_a_row(export: ExportFormat) -> None:
    file = f"`{export.file}`" if export.file else "rendered when asked for"
    row = (
        rf"^\| `\.{re.escape(export.suffix)}` \| `{re.escape(export.content_type)}` \|.*{file} \|$"
    )
    assert re.search(row, PAGE, re.MULTILINE)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_every_code_has_a_row_with_its_loinc_term_and_unit(report) -> None:  # type: ignore[no-untyped-def]
    for observation in list_observations(report):
        code, unit = observation.code, observation.main.unit
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{code.code}` |"))
        assert code.name in row or code.code == "DIFF"
        assert unit is not None
        assert row.endswith(f"`{unit.ucum}` |")
        if code.loinc is not None:
            assert f"`{code.loinc.code}` {code.loinc.name}" in row
        elif code.code != "BLAST":
            assert "| – |" in row


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_every_component_has_a_row(report) -> None:  # type: ignore[no-untyped-def]
    first_cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    for observation in list_observations(report):
        for component in observation.components:
            assert any(f"`{component.code}`" in cell for cell in first_cells)


def test_the_hl7_sample_is_of_the_golden_message_in_its_order() -> None:
    (sample,) = blocks("hl7")
    rest = iter(golden_hl7().split("\r"))
    for line in sample.splitlines():
        assert line in rest


def test_the_fhir_samples_are_of_the_golden_bundle() -> None:
    resources = [entry["resource"] for entry in json.loads(golden_fhir())["entry"]]
    samples = blocks("json")
    assert len(samples) == 2
    for sample in samples:
        assert json.loads(sample) in resources


def test_the_csv_sample_is_of_the_golden_cells() -> None:
    stream = io.StringIO(newline="")
    write_csv(list(TABLE)[:1], stream)
    assert blocks("csv") == [stream.getvalue()]


def test_the_geojson_sample_is_of_the_golden_cells() -> None:
    stream = io.StringIO()
    write_geojson(REPORT, list(TABLE)[:1], [], stream)
    (feature,) = json.loads(stream.getvalue())["features"]
    (sample,) = blocks("geojson")
    assert json.loads(sample) == feature["properties"]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (DOCS / target).exists(), target
