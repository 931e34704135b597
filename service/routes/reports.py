"""`/v1/scans/{id}/report`: the result, in the format that is asked for."""

from importlib.metadata import version
from io import StringIO
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse

from service.access.authentication import Reader, Served
from service.contract.problem import ProblemCode
from service.contract.report import Report
from service.exports.formats import FORMATS, ExportFormat, find_format
from service.exports.labels import Labels
from service.installation import Installation
from service.problems import ApiProblem, responses
from service.results import read_report, result_directory
from service.routes.etags import matches
from service.routes.names import ScanName
from service.store.audit import Action
from service.store.keys import ApiKey

router = APIRouter(prefix="/v1/scans", tags=["results"])

VERSION: Final = version("smearscan")
"""Part of an ETag: another version may render FHIR and HL7 otherwise."""
CACHE_CONTROL: Final = "private, no-cache"
"""A browser may keep it, and must ask each time whether it may show it."""
IfNoneMatch = Annotated[str | None, Header(description="ETags the client has.")]

_Responses = dict[int | str, dict[str, Any]]

_ETAG: Final = {"ETag": {"description": "Of this result.", "schema": {"type": "string"}}}
_UNCHANGED: Final[_Responses] = {304: {"description": "The client has it.", "headers": _ETAG}}
_ALL: Final[_Responses] = {
    200: {
        "description": "The report, or in other formats the cells.",
        "headers": _ETAG,
        "content": {
            export.media_type: {}
            for export in FORMATS.values()
            if export.media_type != "application/json"
        },
    },
    **_UNCHANGED,
    **responses(404, 406, 409, 410),
}


@router.get("/{scan_id}/report", response_model=Report, responses=_ALL)
def get_report(
    scan_id: ScanName,
    served: Served,
    caller: Reader,
    accept: Annotated[str, Header(description="Media types of docs/exports.md.")] = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The report of a scan that succeeded; the format goes by `Accept`, JSON by default."""
    export = find_format(accept)
    if export is None:
        offered = ", ".join(known.media_type for known in FORMATS.values())
        raise ApiProblem(
            406, ProblemCode.NOT_ACCEPTABLE, f"There is no such format; there are: {offered}."
        )
    return _send(served, caller, scan_id, export, if_none_match)


@router.get(
    "/{scan_id}/report.{suffix}",
    response_class=Response,
    responses={
        200: {
            "description": "The report, or in other formats the cells.",
            "headers": _ETAG,
            "content": {export.media_type: {} for export in FORMATS.values()},
        },
        **_UNCHANGED,
        **responses(404, 409, 410),
    },
)
def get_report_as(
    scan_id: ScanName,
    suffix: Annotated[str, Path(description=f"One of {', '.join(FORMATS)}.")],
    served: Served,
    caller: Reader,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The report in one format: json, html, csv, geojson, parquet, fhir.json or hl7."""
    export = FORMATS.get(suffix)
    if export is None:
        raise ApiProblem(
            404,
            ProblemCode.NOT_FOUND,
            f"There is no format of that suffix; there are: {', '.join(FORMATS)}.",
        )
    return _send(served, caller, scan_id, export, if_none_match)


def _send(
    served: Installation,
    caller: ApiKey,
    scan_id: str,
    export: ExportFormat,
    if_none_match: str | None,
) -> Response:
    row = served.scans.row(scan_id)
    directory = result_directory(served.layout, row)
    headers = {
        "ETag": f'"{row.id}.{row.result_attempt}.{VERSION}.{export.suffix}"',
        "Cache-Control": CACHE_CONTROL,
        "Vary": "Accept",
    }
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    detail = {"format": export.suffix}
    served.audit.note(caller.id, Action.READ_REPORT, scan_id=scan_id, detail=detail)
    if export.suffix == "html":  # a page of its own: styles and pictures are in it, scripts are not
        headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
        )
    else:
        headers["Content-Disposition"] = f'inline; filename="{row.id}.{export.suffix}"'
    if export.file is not None:
        return FileResponse(
            directory / export.file, media_type=export.content_type, headers=headers
        )
    assert export.render is not None
    stream = StringIO(newline="")
    labels = Labels(accession=row.accession, specimen=row.specimen)
    export.render(read_report(directory), labels, stream)
    return Response(stream.getvalue(), media_type=export.content_type, headers=headers)
