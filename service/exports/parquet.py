"""Cells as Parquet: the columns of the CSV, typed, readable by pandas, DuckDB, R and Spark."""

from collections.abc import Iterable
from itertools import islice
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from service.contract.cell import Cell
from service.contract.report import Report
from service.exports.row import COLUMNS, PROBABILITY_COLUMNS, flatten_cell

ROWS_PER_GROUP: Final = 8192

_TYPES: Final = {
    "id": pa.int64(),
    "label": pa.string(),
    "flags": pa.list_(pa.string()),
}
_NULLABLE: Final = {"p_blast", "p_atypical", *PROBABILITY_COLUMNS}

SCHEMA: Final = pa.schema(
    [pa.field(name, _TYPES.get(name, pa.float64()), nullable=name in _NULLABLE) for name in COLUMNS]
)
"""Probabilities are doubles, so that they equal the CSV's to the last digit."""


def write_parquet(report: Report, cells: Iterable[Cell], stream: BinaryIO) -> None:
    """Write cells in row groups; memory does not grow with their number.

    The probability of a class that the model does not support is null. The file's metadata hold
    `scan_id`, `schema_version` and `statement`.
    """
    schema = SCHEMA.with_metadata(
        {
            "scan_id": report.scan_id,
            "schema_version": report.schema_version,
            "statement": report.statement,
        }
    )
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        rows = map(flatten_cell, cells)
        while group := list(islice(rows, ROWS_PER_GROUP)):
            columns = zip(*group, strict=True)
            arrays = [
                pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
