"""Cells as CSV: one header line, one line a cell, UTF-8, lines end in LF."""

import csv
from collections.abc import Iterable
from typing import Final, TextIO

from service.contract.cell import Cell
from service.exports.row import COLUMNS, flatten_cell

FLAG_SEPARATOR: Final = ";"


def write_csv(cells: Iterable[Cell], stream: TextIO) -> None:
    """Write cells as they come; memory does not grow with their number.

    An unknown value (a class that the model does not support) is an empty field; flags are joined
    with a semicolon.

    Args:
        cells: in the order of the file.
        stream: text, opened with `newline=""`.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in cells:
        *values, _ = flatten_cell(cell)
        writer.writerow([*values, FLAG_SEPARATOR.join(cell.flags)])
