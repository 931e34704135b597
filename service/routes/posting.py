"""`POST /v1/scans`: a slide as a form, or named where it lies."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.access.authentication import Served, Submitter
from service.contract.problem import ProblemCode
from service.contract.scan import Scan
from service.contract.submission import ScanMetadata, ScanSubmission
from service.installation import Installation
from service.intake.intake import Intake
from service.intake.receive import receive_slide
from service.intake.references import resolve_reference
from service.problems import ApiProblem, responses
from service.store.creation import SlideSource
from service.store.keys import ApiKey
from service.submission import Submission, check_room, submit

router = APIRouter(prefix="/v1/scans", tags=["scans"])

FORM: Final = "multipart/form-data"
JSON: Final = "application/json"

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["slide"],
                    "properties": {
                        "slide": {"type": "string", "format": "binary"},
                        "metadata": {"$ref": "#/components/schemas/ScanMetadata"},
                    },
                },
                "encoding": {"metadata": {"contentType": JSON}},
                "examples": {
                    "with its order": {
                        "summary": "The file, and the laboratory's number of the order",
                        "value": {"metadata": {"accession": "26-1234"}, "slide": "(the file)"},
                    }
                },
            },
            JSON: {
                "schema": {"$ref": "#/components/schemas/ScanSubmission"},
                "examples": {
                    "in place": {
                        "summary": "A file under a slide root, read where it lies",
                        "value": {"slide_uri": "file:///slides/2026/a.svs", "accession": "26-1234"},
                    },
                    "resumable": {
                        "summary": "A finished resumable upload",
                        "value": {
                            "upload_id": "4f1c9f0f6c2b4d0a8d7e5b3a19c2e870",
                            "um_per_px": 0.1,
                        },
                    },
                },
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=Scan,
    openapi_extra=_BODY,
    responses={
        200: {"model": Scan, "description": "The scan that this slide has already."},
        202: {"description": "A new scan; `Location` names it."},
        **responses(400, 404, 408, 409, 410, 413, 415, 507),
    },
)
async def create_scan(
    request: Request,
    response: Response,
    served: Served,
    caller: Submitter,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="The client's own name for this request: sent again, it finds the scan that"
            " the first one made.",
        ),
    ] = None,
) -> Scan:
    """Have a slide scanned.

    Send it as a form with the parts `slide` (the file) and optionally `metadata` (JSON), or name it
    in JSON by `slide_uri` or `upload_id`. The same slide, model and parameters get the scan that
    exists (200) unless `force` is set.
    """
    await run_in_threadpool(check_room, served)
    intake: Intake = request.app.state.intake
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        slide, metadata = await _take_form(request, intake)
    elif kind == JSON:
        slide, metadata = await _take_named(request, intake, served, caller)
    else:
        raise ApiProblem(
            415,
            ProblemCode.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type is {kind[:80]!r}: send {FORM} with a slide, or {JSON} that names one.",
        )
    submission = Submission(slide, metadata, caller, idempotency_key)
    created = await run_in_threadpool(submit, served, submission)
    response.status_code = 202 if created.fresh else 200
    response.headers["Location"] = f"/v1/scans/{created.scan.scan_id}"
    return created.scan


async def _take_form(request: Request, intake: Intake) -> tuple[SlideSource, ScanMetadata]:
    received = await receive_slide(request, intake, check_metadata=_read_metadata)
    metadata = _read_metadata(received.metadata) if received.metadata else ScanMetadata()
    slide = received.slide
    return SlideSource(slide.size_bytes, sha256=slide.sha256), metadata


async def _take_named(
    request: Request, intake: Intake, served: Installation, caller: ApiKey
) -> tuple[SlideSource, ScanMetadata]:
    named = _read_submission(await request.body())
    metadata = ScanMetadata(**named.model_dump(exclude={"slide_uri", "upload_id"}))
    if named.upload_id is not None:
        upload = await run_in_threadpool(intake.uploads.find_upload, named.upload_id, caller.id)
        return SlideSource(upload.size_bytes, sha256=upload.sha256), metadata
    assert named.slide_uri is not None
    found = await run_in_threadpool(resolve_reference, named.slide_uri, served.settings)
    return SlideSource(found.size_bytes, uri=found.uri, version=str(found.mtime_ns)), metadata


def _read_metadata(text: bytes) -> ScanMetadata:
    """The form's part of that name.

    Raises:
        RequestValidationError: it is not what the interface describes.
    """
    try:
        return ScanMetadata.model_validate_json(text)
    except ValidationError as err:
        raise _as_request_error(err, "metadata") from err


def _read_submission(text: bytes) -> ScanSubmission:
    try:
        return ScanSubmission.model_validate_json(text)
    except ValidationError as err:
        raise _as_request_error(err, "body") from err


def _as_request_error(err: ValidationError, where: str) -> RequestValidationError:
    errors = json.loads(err.json(include_url=False, include_input=False, include_context=False))
    return RequestValidationError([{**error, "loc": (where, *error["loc"])} for error in errors])
