"""What the viewing routes look up, who may ask, and what of it the audit log keeps."""

from fastapi import APIRouter, Depends, Request

from service.access.authentication import Reader, Served, get_installation
from service.contract.viewing import SlideReference
from service.problems import responses
from service.results import read_cell, read_doubtful_object, read_report, result_directory
from service.routes.viewing import CellPlace, ViewedScan, make_router
from service.slides import locate_slide
from service.store.audit import Action
from service.viewer_client import ViewerClient


def make_pixel_router(viewer: ViewerClient) -> APIRouter:
    """Deep zoom, patches and saliency of scans that succeeded."""
    router = APIRouter(dependencies=[Depends(_note)])
    router.include_router(make_router(_find_scan, _find_cell, _find_doubtful, viewer, responses))
    return router


def _note(request: Request, served: Served, caller: Reader) -> None:
    """Audit the opening of a slide or a cell; not its tiles, which follow in hundreds."""
    if "slide_files" not in request.url.path:
        scan_id = request.path_params.get("scan_id")
        served.audit.note(caller.id, Action.READ_PIXELS, scan_id=scan_id)


def _find_scan(request: Request, scan_id: str) -> ViewedScan:
    served = get_installation(request)
    row = served.scans.row(scan_id)
    directory = result_directory(served.layout, row)
    report = read_report(directory)
    slide = SlideReference(
        path=str(locate_slide(served.layout, row)),
        sha256=report.slide.sha256,
        size_bytes=row.slide_bytes,
        um_per_px=row.parameters.get("um_per_px"),
    )
    model = row.parameters.get("model")
    return ViewedScan(slide, directory, model, report.model.patch_um)


def _find_cell(request: Request, scan_id: str, cell_id: int) -> CellPlace:
    served = get_installation(request)
    cell = read_cell(result_directory(served.layout, served.scans.row(scan_id)), cell_id)
    return CellPlace(cell.x_px, cell.y_px)


def _find_doubtful(request: Request, scan_id: str, number: int) -> CellPlace:
    served = get_installation(request)
    directory = result_directory(served.layout, served.scans.row(scan_id))
    one = read_doubtful_object(directory, number)
    return CellPlace(one.x_px, one.y_px)
