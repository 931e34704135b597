"""Objects that may be leukocytes and were not counted, as CSV: written with results, read back."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TextIO

from service.contract.cell import DoubtfulObject

DOUBTFUL_FILE: Final = "doubtful.csv"
_COLUMNS: Final = tuple(DoubtfulObject.model_fields)


def write_doubtful(objects: Iterable[DoubtfulObject], stream: TextIO) -> None:
    """One line an object, in the order given. `stream` is opened with `newline=""`."""
    writer = csv.DictWriter(stream, _COLUMNS)
    writer.writeheader()
    writer.writerows(one.model_dump() for one in objects)


def read_doubtful(directory: Path) -> tuple[DoubtfulObject, ...]:
    """What `write_doubtful` wrote into a result's directory.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with (directory / DOUBTFUL_FILE).open(encoding="utf-8", newline="") as stream:
        return tuple(DoubtfulObject.model_validate(row) for row in csv.DictReader(stream))
