"""`/v1/scans/{id}/cells`: the cells of a scan, and what people say of them."""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from models.taxonomy import CellClass
from service.access.authentication import Reader, Reviewer, Served
from service.contract.cell import CellFlag
from service.contract.review import CellPage, DoubtfulPage, Review, ReviewedCell, ReviewRequest
from service.exports.spreadsheet import disarm
from service.installation import Installation
from service.problems import responses
from service.results import (
    SORTABLE,
    CellMissing,
    CellQuery,
    ResultsGone,
    find_cells,
    list_doubtful,
    read_cell,
    result_directory,
)
from service.routes.names import CellNumber, NumberCursor, ScanName
from service.store.audit import Action

router = APIRouter(prefix="/v1", tags=["results"])

MAX_PAGE: Final = 500
Probability = Annotated[float | None, Query(ge=0, le=1, description="At least this probability.")]

REVIEW_COLUMNS: Final = (
    "scan_id",
    "slide_sha256",
    "cell_id",
    "x_px",
    "y_px",
    "model_label",
    "label",
    "comment",
    "reviewer",
    "at",
)


@router.get("/scans/{scan_id}/cells", responses=responses(404, 409, 410))
def list_cells(
    scan_id: ScanName,
    served: Served,
    caller: Reader,
    label: Annotated[list[CellClass] | None, Query(description="Any of these.")] = None,
    flag: Annotated[list[CellFlag] | None, Query(description="All of these.")] = None,
    min_p_blast: Probability = None,
    min_p_atypical: Probability = None,
    sort: Annotated[
        str,
        Query(
            description=f"One of {', '.join(SORTABLE)}; a class code is its probability; with `-`"
            " before it the greatest come first.",
            pattern=f"^-?({'|'.join(SORTABLE)})$",
        ),
    ] = "id",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many.")] = 100,
    cursor: NumberCursor = None,
) -> CellPage:
    """Cells of a scan that succeeded, filtered and sorted."""
    directory = result_directory(served.layout, served.scans.row(scan_id))
    offset = int(cursor or 0)
    query = CellQuery(
        tuple(label or ()),
        tuple(flag or ()),
        min_p_blast,
        min_p_atypical,
        sort.removeprefix("-"),
        sort.startswith("-"),
        offset,
        limit,
    )
    found = find_cells(directory, query)
    served.audit.note(caller.id, Action.READ_CELLS, scan_id=scan_id)
    reviews = served.reviews.of_cells(scan_id, [cell.id for cell in found.cells])
    return CellPage(
        cells=tuple(ReviewedCell(cell=c, review=reviews.get(c.id)) for c in found.cells),
        total=found.total,
        next_cursor=_next_cursor(offset, len(found.cells), found.total),
    )


@router.get("/scans/{scan_id}/doubtful-objects", responses=responses(404, 409, 410))
def list_doubtful_objects(
    scan_id: ScanName,
    served: Served,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many.")] = 100,
    cursor: NumberCursor = None,
) -> DoubtfulPage:
    """What may be leukocytes of a scan that succeeded, and was counted nowhere."""
    directory = result_directory(served.layout, served.scans.row(scan_id))
    objects = list_doubtful(directory)
    served.audit.note(caller.id, Action.READ_CELLS, scan_id=scan_id, detail={"doubtful": True})
    offset = int(cursor or 0)
    shown = objects[offset : offset + limit]
    return DoubtfulPage(
        objects=shown,
        total=len(objects),
        next_cursor=_next_cursor(offset, len(shown), len(objects)),
    )


@router.get("/scans/{scan_id}/cells/{cell_id}", responses=responses(404, 409, 410))
def get_cell(
    scan_id: ScanName, cell_id: CellNumber, served: Served, caller: Reader
) -> ReviewedCell:
    """One cell."""
    directory = result_directory(served.layout, served.scans.row(scan_id))
    cell = read_cell(directory, cell_id)
    served.audit.note(caller.id, Action.READ_CELLS, scan_id=scan_id, detail={"cell": cell_id})
    return ReviewedCell(cell=cell, review=served.reviews.of_cells(scan_id, [cell_id]).get(cell_id))


@router.put("/scans/{scan_id}/cells/{cell_id}/review", responses=responses(400, 404, 409, 410, 413))
def review_cell(
    scan_id: ScanName, cell_id: CellNumber, request: ReviewRequest, served: Served, caller: Reviewer
) -> Review:
    """Say what a cell is. The model's label stays; the numbers of the report do not change."""
    directory = result_directory(served.layout, served.scans.row(scan_id))
    read_cell(directory, cell_id)
    review = served.reviews.add(scan_id, cell_id, request, reviewer=caller.id)
    detail = {"cell": cell_id, "label": str(review.label)}
    served.audit.note(caller.id, Action.REVIEWED, scan_id=scan_id, detail=detail)
    return review


@router.get(
    "/reviews.csv",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV"},
        **responses(),
    },
)
def export_reviews(served: Served, caller: Reader) -> StreamingResponse:
    """All reviews that hold, with the places of their cells: what retraining begins with."""
    served.audit.note(caller.id, Action.READ_CELLS, detail={"export": "reviews"})
    return StreamingResponse(_write_reviews(served), media_type="text/csv; charset=utf-8")


def _next_cursor(offset: int, shown: int, total: int) -> str | None:
    """Where the part after this one begins; None at the end, and beyond it."""
    after = offset + shown
    return str(after) if shown and after < total else None


def _write_reviews(served: Installation) -> Iterator[str]:
    yield _csv_line(REVIEW_COLUMNS)
    for row in served.reviews.all():
        directory = served.layout.result_of(row.scan_id, row.result_attempt)
        try:
            cell = read_cell(directory, row.cell_id)
            place: tuple[object, ...] = (cell.x_px, cell.y_px, cell.label)
        except (ResultsGone, CellMissing):
            place = ("", "", "")
        comment = row.comment or ""
        named = (row.scan_id, row.slide_sha256, row.cell_id, *place)
        yield _csv_line((*named, row.label, disarm(comment), row.reviewer, row.at.isoformat()))


def _csv_line(values: tuple[object, ...]) -> str:
    stream = StringIO(newline="")
    csv.writer(stream).writerow(values)
    return stream.getvalue()
