"""What FHIR and HL7 are both told of a count's errors."""

import pytest

from models.taxonomy import CellClass
from service.contract.report import Report
from service.exports.coding import CELLS, PERCENT
from service.exports.observation import (
    CHANCE_ALONE,
    NOT_FROM_NONE,
    Absence,
    Component,
    Observation,
    list_observations,
    summarise,
)
from tests.analyses import cells_with, report_of
from tests.exported import REPORTS, regrouped_report

CORRECTED = {"adjusted", "adjusted-ci95", "limit-of-blank", "limit-of-detection"}


def observe(report: Report, code: str) -> tuple[Observation, dict[str, Component]]:
    (found,) = (one for one in list_observations(report) if one.code.code == code)
    return found, {part.code: part for part in found.components}


def report_with(blasts: int, others: int) -> Report:
    return report_of(cells_with({CellClass.NGS: others, CellClass.MYO: blasts}))[0]


def test_what_the_models_errors_make_of_a_count_stands_beside_it() -> None:
    report = report_with(blasts=60, others=140)
    adjusted = report.blast.adjusted
    assert adjusted is not None
    assert adjusted.ci95[0] > 0
    observation, parts = observe(report, "BLAST")
    assert (parts["adjusted"].value, parts["adjusted"].unit) == (adjusted.percent, PERCENT)
    assert (parts["adjusted-ci95"].value, parts["adjusted-ci95"].unit) == (adjusted.ci95, PERCENT)
    blank, detected = parts["limit-of-blank"], parts["limit-of-detection"]
    assert (blank.value, blank.unit) == (adjusted.limit_of_blank, CELLS)
    assert (detected.value, detected.unit) == (adjusted.limit_of_detection, PERCENT)
    assert any(note.startswith(CHANCE_ALONE) for note in observation.notes)
    assert NOT_FROM_NONE not in observation.notes


def test_a_count_that_the_errors_explain_is_said_to_be_no_more_than_none() -> None:
    report = report_with(blasts=8, others=192)
    assert report.blast.adjusted is not None
    assert report.blast.adjusted.ci95[0] == 0
    observation, _ = observe(report, "BLAST")
    assert NOT_FROM_NONE in observation.notes
    assert NOT_FROM_NONE in summarise(report)


def test_where_errors_hide_all_the_limit_is_absent_with_that_reason() -> None:
    _, parts = observe(REPORTS["few leukocytes"], "BLAST")
    assert parts["limit-of-detection"].value is None
    assert parts["limit-of-detection"].absence is Absence.ERRORS_HIDE_ALL


def test_errors_that_are_not_known_are_said_to_be() -> None:
    observation, parts = observe(regrouped_report(), "BLAST-REGROUPED")
    assert not CORRECTED & parts.keys()
    assert any(note.endswith("errs in this group is not known.") for note in observation.notes)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_nobody_reads_a_percentage_without_what_its_interval_leaves_out(report: Report) -> None:
    for observation in list_observations(report)[1:3]:
        told = any(note.startswith(CHANCE_ALONE) for note in observation.notes)
        assert told == (observation.main.value is not None)


def test_the_summary_has_the_corrected_share() -> None:
    report = report_with(blasts=60, others=140)
    adjusted = report.blast.adjusted
    assert adjusted is not None
    statement, _, corrected = summarise(report)
    assert statement == report.statement
    assert f"{adjusted.percent} % (95 % interval {adjusted.ci95[0]}–{adjusted.ci95[1]} %)" in (
        corrected
    )
