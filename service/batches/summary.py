"""What came of a batch, as CSV that a spreadsheet may open: one slide a row."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Row

from service.contract.scan import GroupSummary, ScanSummary
from service.exports.spreadsheet import disarm

COLUMNS: Final = (
    "number",
    "slide_uri",
    "accession",
    "state",
    "scan_id",
    "failure_code",
    "failure_message",
    "n_leukocytes",
    "blast_count",
    "blast_percent",
    "blast_ci95_low",
    "blast_ci95_high",
    "atypical_count",
    "atypical_percent",
    "atypical_ci95_low",
    "atypical_ci95_high",
    "warnings",
)
ROWS: Final = 200
"""Rows sent at a time."""


def write_summary(rows: Iterable[Row[Any]]) -> Iterator[str]:
    """The table in parts, header first.

    Args:
        rows: items with their scan's `summary`, as `BatchItems.with_results` gives them.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for number, row in enumerate(rows, 1):
        table.writerow([disarm(value) for value in _values(row)])
        if number % ROWS == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _values(row: Row[Any]) -> list[object]:
    summary = None if row.summary is None else ScanSummary.model_validate(row.summary)
    numbers: list[object] = [None] * 10
    if summary is not None:
        numbers = [
            summary.n_leukocytes,
            *_group(summary.blast),
            *_group(summary.atypical),
            " ".join(summary.warnings),
        ]
    return [
        row.number,
        row.slide_uri,
        row.accession,
        row.state,
        row.scan_id,
        row.failure_code,
        row.failure_message,
        *numbers,
    ]


def _group(group: GroupSummary) -> list[object]:
    return [group.count, group.percent, *(group.ci95 or (None, None))]
