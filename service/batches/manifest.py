"""A manifest: CSV with a header, one slide a row."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from pydantic import TypeAdapter, ValidationError

from service.batches.places import unreadable
from service.contract.failure import AnalysisError, Failure, FailureCode
from service.contract.scan import ScanParameters
from service.contract.submission import Label
from service.store.batch_items import NewItem

URI: Final = "slide_uri"
UM_PER_PX: Final = "um_per_px"
ACCESSION: Final = "accession"
COLUMNS: Final = (URI, UM_PER_PX, ACCESSION)
_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Label)


class ManifestInvalid(Exception):
    """The text as a whole is not a manifest; the message says where and why."""


def read_manifest(lines: Iterable[str]) -> Iterator[NewItem]:
    """The slides of a manifest as they come; a row that is wrong is a failed slide.

    Spreadsheets of some countries write `;` between columns: the header tells.

    Raises:
        ManifestInvalid: before the first slide or after some.
    """
    rest = iter(lines)
    first = next(rest, "").removeprefix("\ufeff")
    delimiter = ";" if ";" in first and "," not in first else ","
    rows = csv.reader(chain([first], rest), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header)
        for row in rows:
            if any(cell.strip() for cell in row):
                yield _read_row(header, row, rows.line_num)
    except csv.Error as err:
        raise ManifestInvalid(f"line {rows.line_num} is not CSV: {err}") from err
    except UnicodeDecodeError as err:
        raise ManifestInvalid(
            f"a line after line {rows.line_num} is not UTF-8: save the manifest as UTF-8"
        ) from err


def _check_header(header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    if URI not in header or unknown or len(set(header)) < len(header):
        raise ManifestInvalid(
            f"the header has the columns {', '.join(header)[:200]!r}: it needs {URI}, may have"
            f" {UM_PER_PX} and {ACCESSION}, each once, and no others"
        )


def _read_row(header: list[str], row: list[str], line: int) -> NewItem:
    if any("\0" in cell for cell in row):
        raise ManifestInvalid(f"line {line} holds a NUL character: save the manifest as UTF-8")
    cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
    uri = cells.get(URI, "")
    if not uri or len(row) != len(header):
        reason = f"line {line} of the manifest has {len(row)} cells, the header {len(header)}"
        if not uri:
            reason = f"line {line} of the manifest names no slide"
        return NewItem(uri or f"line {line}", failure=unreadable(f"{reason}: correct it"))
    text = cells.get(UM_PER_PX, "")
    um_per_px = _read_um_per_px(text, line) if text else None
    if isinstance(um_per_px, Failure):
        return NewItem(uri, failure=um_per_px)
    accession = cells.get(ACCESSION) or None
    if accession is not None:
        try:
            _LABEL.validate_python(accession)
        except ValidationError:
            reason = f"line {line} of the manifest: accession has at most 128 printable characters"
            return NewItem(uri, um_per_px, failure=unreadable(reason))
    return NewItem(uri, um_per_px, accession)


def _read_um_per_px(text: str, line: int) -> float | Failure:
    try:
        value = ScanParameters(um_per_px=float(text)).um_per_px
    except ValueError:  # pydantic's is one too
        return AnalysisError(
            FailureCode.RESOLUTION_UNSUPPORTED,
            f"line {line} of the manifest: um_per_px is {text[:20]!r}; it is a number with a"
            " decimal point, from 0.02 to 10",
        ).failure
    assert value is not None
    return value
