"""Results on disk as the api reads them: whole, or typed as not there."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Row

from models.taxonomy import CODES, CellClass
from service.contract.cell import Cell, CellFlag, DoubtfulObject
from service.contract.report import Report
from service.contract.scan import ScanState
from service.exports.doubtful import read_doubtful
from service.exports.row import FIXED_COLUMNS, PROBABILITY_COLUMNS
from service.layout import DataRoot

REPORT: Final = "report.json"
CELLS: Final = "cells.parquet"
TABLES_KEPT: Final = 8
"""Cell tables held in memory; one of 5,000 cells takes about 1 MB."""
SORTABLE: Final = ("id", "diameter_um", "detection_score", "p_blast", "p_atypical", *CODES)
"""What cells may be sorted by; a class code means its probability."""


class ResultsNotReady(Exception):
    """The scan has not succeeded, or not yet; the message says where it stands."""


class ResultsGone(Exception):
    """The scan succeeded, and its files are no longer there."""


class CellMissing(Exception):
    """The scan has no such cell, or doubtful object."""


@dataclass(frozen=True, slots=True)
class CellQuery:
    """Which cells, in which order.

    Attributes:
        labels: any of these; empty: all.
        flags: all of these.
        min_p_blast, min_p_atypical: at least this probability, 0–1.
        sort: one of `SORTABLE`.
        descending: greatest first.
        offset: cells of the order to pass over.
        limit: cells to give.
    """

    labels: tuple[CellClass, ...] = ()
    flags: tuple[CellFlag, ...] = ()
    min_p_blast: float | None = None
    min_p_atypical: float | None = None
    sort: str = "id"
    descending: bool = False
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CellSlice:
    """A part of the cells that a query finds."""

    cells: tuple[Cell, ...]
    total: int


def result_directory(layout: DataRoot, row: Row[Any]) -> Path:
    """Where a scan's results lie.

    Raises:
        ResultsNotReady: it has none.
        ResultsGone: they were removed.
    """
    if row.state != ScanState.SUCCEEDED:
        reason = f" ({row.failure_code})" if row.state == ScanState.FAILED else ""
        raise ResultsNotReady(
            f"The scan is {row.state}{reason}: a report is there once it is succeeded."
        )
    directory = layout.result_of(row.id, row.result_attempt)
    if not (directory / REPORT).is_file():
        raise ResultsGone("The results of this scan are no longer on the disk: scan it again.")
    return directory


def read_report(directory: Path) -> Report:
    """A scan's report.

    Raises:
        ResultsGone: it is not there.
    """
    try:
        return Report.model_validate_json((directory / REPORT).read_bytes())
    except FileNotFoundError as err:
        raise ResultsGone("The report of this scan is no longer on the disk.") from err


def read_cell(directory: Path, cell_id: int) -> Cell:
    """One cell.

    Raises:
        CellMissing: there is none of that number.
        ResultsGone: the results are not there.
    """
    table = _read_table(directory)
    if not 1 <= cell_id <= table.num_rows:
        raise CellMissing(f"There is no cell {cell_id}: the scan has {table.num_rows}.")
    return _as_cells(table.slice(cell_id - 1, 1))[0]


def list_doubtful(directory: Path) -> tuple[DoubtfulObject, ...]:
    """What may be a leukocyte and was not counted, the likeliest first.

    Raises:
        ResultsGone: the results are not there, or are of a version that did not keep these.
    """
    try:
        return read_doubtful(directory)
    except FileNotFoundError as err:
        raise ResultsGone(
            "The doubtful objects of this scan are not on the disk: scan it again."
        ) from err


def read_doubtful_object(directory: Path, number: int) -> DoubtfulObject:
    """One of what may be leukocytes and was not counted.

    Raises:
        CellMissing: there is none of that number.
        ResultsGone: as `list_doubtful`.
    """
    objects = list_doubtful(directory)
    if not 1 <= number <= len(objects):
        raise CellMissing(f"There is no doubtful object {number}: the scan has {len(objects)}.")
    return objects[number - 1]


def find_cells(directory: Path, query: CellQuery) -> CellSlice:
    """Cells that a query asks for. Ties keep the order of the ids.

    Raises:
        ResultsGone: the results are not there.
    """
    table = _read_table(directory)
    keep = np.ones(table.num_rows, np.bool_)
    if query.labels:
        names = pa.array([str(label) for label in query.labels])
        keep &= pc.is_in(table["label"], value_set=names).to_numpy()
    for name, least in (("p_blast", query.min_p_blast), ("p_atypical", query.min_p_atypical)):
        if least is not None:
            keep &= np.nan_to_num(_numbers(table, name), nan=-1.0) >= least
    if query.flags:
        wanted = set(query.flags)
        keep &= np.array([wanted <= set(flags) for flags in table["flags"].to_pylist()], np.bool_)
    rows = np.flatnonzero(keep)
    column = f"p_{query.sort}" if query.sort in CODES else query.sort
    values = np.nan_to_num(_numbers(table, column)[rows].astype(np.float64), nan=-1.0)
    order = rows[np.argsort(-values if query.descending else values, kind="stable")]
    shown = order[query.offset : query.offset + query.limit]
    return CellSlice(tuple(_as_cells(table.take(pa.array(shown)))), len(order))


def _read_table(directory: Path) -> pa.Table:
    try:
        return _cached_table(directory, (directory / CELLS).stat().st_mtime_ns)
    except FileNotFoundError as err:
        raise ResultsGone("The cells of this scan are no longer on the disk.") from err


@lru_cache(TABLES_KEPT)
def _cached_table(directory: Path, _: int) -> pa.Table:
    return pq.read_table(directory / CELLS).combine_chunks()


def _numbers(table: pa.Table, name: str) -> Any:
    """A column as numbers, NaN where the model supports no class of it."""
    return table[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _as_cells(table: pa.Table) -> list[Cell]:
    cells = []
    for row in table.to_pylist():
        probabilities = {
            code: row[column]
            for code, column in zip(CODES, PROBABILITY_COLUMNS, strict=True)
            if row[column] is not None
        }
        fixed = {name: row[name] for name in FIXED_COLUMNS}
        cells.append(Cell(**fixed, probabilities=probabilities, flags=tuple(row["flags"])))
    return cells
