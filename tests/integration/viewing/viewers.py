"""A viewer as the supervisor starts it, and an api's routes in front of it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from service.contract.viewing import SlideReference
from service.layout import DataRoot
from service.routes.viewing import CellPlace, ViewedScan, make_router
from service.settings import ServiceSettings
from service.viewer_client import (
    ModelUnavailable,
    PixelsUnreadable,
    SlideGone,
    TileNotFound,
    TileUnavailable,
    ViewerClient,
    ViewerError,
    ViewerUnavailable,
    ViewingRefused,
)

START_S = 120.0

STATUSES: dict[type[ViewerError], int] = {
    ViewerUnavailable: 503,
    TileUnavailable: 503,
    ModelUnavailable: 503,
    TileNotFound: 404,
    SlideGone: 410,
    PixelsUnreadable: 422,
    ViewingRefused: 400,
}


@dataclass(frozen=True)
class RunningViewer:
    """A viewer of its own data directory."""

    process: subprocess.Popen[bytes]
    settings: ServiceSettings

    @property
    def children(self) -> list[int]:
        """Its processes of slides, the spare one included."""
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(task).read_text().split()]

    @property
    def descriptors(self) -> int:
        """Files it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def run_viewer(data: Path, roots: list[Path], **more: str) -> Iterator[RunningViewer]:
    """`python -m worker viewer`, listening."""
    listed = "[" + ",".join(f'"{root}"' for root in roots) + "]"
    own = {"SMEARSCAN_DATA": str(data), "SMEARSCAN_SLIDE_ROOTS": listed, **more}
    settings = ServiceSettings(data=data, slide_roots=tuple(roots))
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "viewer"], env={**os.environ, **own}
    )
    try:
        address = str(DataRoot(data.resolve()).viewer_socket)
        deadline = time.monotonic() + START_S
        while not answers(address):
            assert process.poll() is None, f"the viewer ended with {process.returncode}"
            assert time.monotonic() < deadline, "the viewer does not listen"
            time.sleep(0.05)
        yield RunningViewer(process, settings)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    """Whether somebody listens at a Unix socket; a killed viewer leaves its file behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address) == 0


class ScanGone(Exception):
    """The app's own answer for a scan that is not there."""


def app_of(
    viewer: ViewerClient, scans: dict[str, ViewedScan], cells: dict[int, CellPlace]
) -> FastAPI:
    """An api of nothing but the viewing routes."""

    def find_scan(request: Request, scan_id: str) -> ViewedScan:
        try:
            return scans[scan_id]
        except KeyError:
            raise ScanGone from None

    def find_cell(request: Request, scan_id: str, cell_id: int) -> CellPlace:
        try:
            return cells[cell_id]
        except KeyError:
            raise ScanGone from None

    def find_doubtful(request: Request, scan_id: str, number: int) -> CellPlace:
        return find_cell(request, scan_id, 100 + number)

    def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: {"description": "A problem."} for status in statuses}

    app = FastAPI()
    app.include_router(make_router(find_scan, find_cell, find_doubtful, viewer, describe))

    async def on_error(request: Request, err: Exception) -> Response:
        assert isinstance(err, ViewerError)
        return JSONResponse({"detail": str(err)}, STATUSES[type(err)])

    async def on_gone(request: Request, err: Exception) -> Response:
        return JSONResponse({"detail": "no such scan"}, 404)

    app.add_exception_handler(ViewerError, on_error)
    app.add_exception_handler(ScanGone, on_gone)
    return app


def slide_of(path: Path, **known: Any) -> SlideReference:
    """A slide as the store knows it."""
    return SlideReference(path=str(path), sha256="0" * 64, **known)
