"""The report as others read it.

After a deliberate change of the contract, raise SCHEMA_VERSION and write both golden files anew:
`python -m tests.golden`.
"""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.contract.cell import Cell
from service.contract.quality import QualityFlag
from service.contract.report import Report
from service.contract.scan import Scan, ScanParameters
from service.contract.settings import AnalysisSettings
from tests.golden import GOLDEN_REPORT, GOLDEN_SCHEMA

DOCUMENTED = [Report, Cell, Scan, ScanParameters, AnalysisSettings, QualityFlag]


def golden(**changes: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(GOLDEN_REPORT.read_text("utf-8"))
    return report | changes


def test_the_golden_report_survives_reading_and_writing() -> None:
    text = GOLDEN_REPORT.read_text("utf-8")
    assert Report.model_validate_json(text).model_dump_json(indent=2) + "\n" == text


def test_the_schema_is_what_readers_were_promised() -> None:
    assert Report.model_json_schema(mode="serialization") == json.loads(
        GOLDEN_SCHEMA.read_text("utf-8")
    )


def test_a_report_from_before_doubtful_objects_is_still_read() -> None:
    old = golden(schema_version="1.2")
    old["region"] = {k: v for k, v in old["region"].items() if k != "doubtful_objects"}
    assert Report.model_validate(old).region.doubtful_objects is None


@pytest.mark.parametrize("model", DOCUMENTED)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    objects = [schema, *(part for part in schema.get("$defs", {}).values() if "properties" in part)]
    undescribed = [
        f"{part['title']}.{name}"
        for part in objects
        if part["title"] != "Failure"
        for name, field in part["properties"].items()
        if "description" not in field
    ]
    assert undescribed == []


def test_an_unsupported_class_is_null_never_zero() -> None:
    report = golden()
    for code in report["model"]["unsupported_classes"]:
        assert report["counts"][code] is None
        assert report["differential"][code] is None


@pytest.mark.parametrize("count", [0, 3])
def test_a_number_for_an_unsupported_class_is_refused(count: int) -> None:
    counts = golden()["counts"] | {"MOB": count}
    with pytest.raises(ValidationError, match="count of MOB must be null"):
        Report.model_validate(golden(counts=counts))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_cells": 1}, "do not add up to n_cells"),
        ({"n_leukocytes": 1}, "not n_cells without EBO and KSC"),
        ({"counts": {"NGS": 1}}, "all 15 codes"),
        ({"differential": {}}, "every code but EBO and KSC"),
        ({"per_100_leukocytes": {"EBO": 1.0}}, "needs EBO and KSC"),
        ({"statement": "For diagnostic use."}, "Research use only"),
        ({"schema_version": "2.0"}, "1.2"),
        ({"label_image": "x"}, "Extra inputs"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Report.model_validate(golden(**changes))


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    blast = golden()["blast"] | {"ci95": [9.0, 2.4]}
    with pytest.raises(ValidationError, match=r"an interval from 9\.0 to 2\.4"):
        Report.model_validate(golden(blast=blast))


def test_not_a_number_is_refused() -> None:
    blast = golden()["blast"] | {"expected_count": float("nan")}
    with pytest.raises(ValidationError, match="finite"):
        Report.model_validate(golden(blast=blast))


def test_a_report_cannot_be_changed() -> None:
    report = Report.model_validate(golden())
    with pytest.raises(ValidationError, match="frozen"):
        report.n_cells = 0  # type: ignore[misc]
