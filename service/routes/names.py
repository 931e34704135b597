"""Names and cursors in addresses, checked before anything is looked up."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from service.contract.record import ScanId
from service.contract.submission import Label
from service.patches import MAX_CELLS

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a scan or a batch, whole."""
_NAME: Final = rf"^{NAME.pattern}$"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]")

ScanName = Annotated[ScanId, Path(description="As `POST /v1/scans` answered it.")]
BatchName = Annotated[ScanId, Path(description="As `POST /v1/batches` answered it.")]
CellNumber = Annotated[
    int, Path(ge=1, le=MAX_CELLS, description="The cell's number in its scan, from 1.")
]

BatchQuery = Annotated[str | None, Query(pattern=_NAME, description="Of this batch.")]
LabelQuery = Annotated[Label | None, Query(description="Exactly this one.")]
NameCursor = Annotated[
    str | None, Query(pattern=_NAME, description="`next_cursor` of the part before.")
]
NumberCursor = Annotated[
    str | None, Query(pattern="^[0-9]{1,9}$", description="`next_cursor` of the part before.")
]


def _in_utc(moment: datetime) -> datetime:
    """The same moment; refused at the ends of the calendar, where UTC has no name for it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as err:
        raise ValueError("the moment is outside the years 1 to 9999 in UTC") from err


def _not_a_number(text: object) -> object:
    """Refuse what would be read as seconds since 1970: in a filter it is a mistake."""
    if isinstance(text, str) and _DATE.match(text) is None:
        raise ValueError("write it as 2026-01-31T09:30:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_in_utc)]
"""A moment with its zone, e.g. 2026-01-31T09:30:00Z."""
