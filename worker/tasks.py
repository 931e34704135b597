"""What a worker's forked process does with one scan: the slide process.

It claims the scan in SQL, analyses the slide, puts the results in place, and ends the scan, each
step fenced by the attempt: whatever happened in between (cancelled, given to another worker), a
stale process changes nothing.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import structlog
from rq.timeouts import JobTimeoutException
from sqlalchemy import Row
from sqlalchemy.exc import InterfaceError, OperationalError

from service.contract.failure import NO_SPACE, AnalysisError, Failure, FailureCode
from service.contract.scan import ScanParameters, Stage
from service.contract.settings import AnalysisSettings
from service.installation import Installation
from service.intake.errors import (
    CapacityError,
    IntakeError,
    SlideTooLarge,
    StorageFull,
    UnsupportedUpload,
)
from service.intake.limits import IntakeLimits
from service.intake.objects import fetch_to
from service.intake.references import open_check
from service.settings import ServiceSettings
from service.slides import is_object, is_stored, locate_slide
from service.store.models import DEFAULT
from worker.model.client import RemotePredictor
from worker.pipeline import scan_slide
from worker.results import open_patch_store, write_results

RQ_WORKER: Final = "RQ_WORKER_ID"
"""How RQ tells the process it forked which worker's it is."""
PROGRESS_EVERY_S: Final = 0.5
"""Progress is stored at most this often; the fence is looked at as often."""

NO_ANSWER: Final = (OperationalError, InterfaceError)
"""Of a database that is restarting, full, or out of reach."""
WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between tries to store the end of a scan, s: a database restarts within seconds."""

_log = structlog.get_logger(__name__)


class Superseded(Exception):
    """The attempt no longer counts: the scan was cancelled, or given to another worker."""


def scan(scan_id: str, attempt: int) -> None:
    """Run one attempt of a scan; the job's function."""
    installation = Installation.open(ServiceSettings())
    structlog.contextvars.bind_contextvars(scan_id=scan_id, attempt=attempt)
    try:
        run_attempt(installation, scan_id, attempt, worker=os.environ.get(RQ_WORKER, ""))
    finally:
        installation.close()


def run_attempt(installation: Installation, scan_id: str, attempt: int, *, worker: str) -> None:
    """Claim, analyse, end. Never raises for what the slide or the machine does.

    A scan that cannot be claimed (cancelled, running elsewhere, over) is left alone.
    """
    lifecycle = installation.lifecycle
    row = lifecycle.claim(scan_id, attempt, worker)
    if row is None:
        _log.info("nothing to do: the attempt is not open")
        return
    _log.info("scan started", slide_bytes=row.slide_bytes)
    try:
        _analyse(installation, row)
    except Superseded:
        _log.info("scan given up: the attempt no longer counts")
    except AnalysisError as err:
        _end_failed(installation, row, err.failure)
    except JobTimeoutException:
        limit = installation.jobs.timeout_s(row.slide_bytes)
        _end_failed(installation, row, timed_out(limit))
    except MemoryError:
        _end_failed(installation, row, _failure(FailureCode.OUT_OF_MEMORY, _NO_MEMORY))
    except NO_ANSWER as err:
        _log.warning("the database does not answer", error=type(err).__name__)
        _end_failed(installation, row, _failure(FailureCode.WORKER_LOST, _NO_DATABASE))
    except OSError as err:
        if err.errno in NO_SPACE:
            _end_failed(installation, row, _failure(FailureCode.STORAGE_FULL, _NO_SPACE))
        else:
            _end_unexpected(installation, row, err)
    except Exception as err:  # noqa: BLE001 - the top of a process: nothing may be lost
        _end_unexpected(installation, row, err)


def timed_out(limit_s: int) -> Failure:
    """What is said of a scan that took longer than it may."""
    return _failure(
        FailureCode.TIMEOUT,
        f"the scan took longer than the {limit_s} s allowed for a slide of its size: the slide may"
        " be damaged, or the machine overloaded",
    )


def _analyse(installation: Installation, row: Row[Any]) -> None:
    settings, lifecycle = installation.settings, installation.lifecycle
    progress = Progress(lambda *where: lifecycle.advance(row.id, row.attempt, *where))
    parameters = ScanParameters.model_validate(row.parameters)
    path, sha256 = fetch_slide(installation, row)
    target = installation.layout.result_of(row.id, row.attempt)
    predictor = RemotePredictor(
        installation.layout.model_socket,
        None if parameters.model in {None, DEFAULT} else parameters.model,
        check=progress.check,
    )
    keep = open_patch_store(target) if settings.keep_patches else nullcontext()
    with predictor, keep as patch_store:
        results = scan_slide(
            path,
            predictor,
            scan_id=row.id,
            parameters=parameters,
            settings=AnalysisSettings(max_tiles_failed_share=settings.max_tiles_failed_share),
            on_progress=progress.note,
            patch_store=patch_store,
        )
        progress.check()
        if sha256 is not None and results.report.slide.sha256 != sha256:
            raise AnalysisError(
                FailureCode.SLIDE_UNREADABLE,
                "the stored slide is not the one that was taken in, its SHA-256 has changed: check"
                " the disk, and send the slide again",
            )
        write_results(target, results)
    if not insist(lambda: lifecycle.succeed(row.id, row.attempt, results.report)):
        raise Superseded
    remove_earlier_attempts(target)
    _log.info("scan succeeded", cells=results.report.n_cells)


def remove_earlier_attempts(target: Path) -> None:
    """Free the disk of what killed attempts of the same scan left beside its results."""
    for path in target.parent.iterdir():
        if path != target:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def fetch_slide(installation: Installation, row: Row[Any]) -> tuple[Path, str | None]:
    """A file to read, and the SHA-256 it must have; None for one that stays where it is.

    Raises:
        AnalysisError: it may not be read, is not there any more, or cannot be fetched.
    """
    settings = installation.settings
    try:
        if is_object(row):
            limits = IntakeLimits.of(settings)
            stored = fetch_to(row.slide_uri, settings.s3_prefixes, installation.layout, limits)
            installation.lifecycle.note_slide(row.id, row.attempt, stored.sha256)
            return stored.path, stored.sha256
        path = locate_slide(installation.layout, row)
        if is_stored(row):
            return path, row.slide_sha256
        return open_check(path, settings.slide_roots), None
    except CapacityError as err:
        full = isinstance(err, StorageFull)
        code = FailureCode.STORAGE_FULL if full else FailureCode.WORKER_LOST
        raise AnalysisError(code, err.message) from err
    except SlideTooLarge as err:
        raise AnalysisError(FailureCode.SLIDE_TOO_LARGE, err.message) from err
    except UnsupportedUpload as err:
        raise AnalysisError(FailureCode.UNSUPPORTED_FORMAT, err.message) from err
    except IntakeError as err:
        raise AnalysisError(FailureCode.SLIDE_UNREADABLE, err.message) from err


def insist(write: Callable[[], bool], waits_s: Sequence[float] = WAITS_S) -> bool:
    """A write for which hours of work may have been done: again and again while nobody answers.

    Raises:
        OperationalError, InterfaceError: nobody answered to the end.
    """
    for wait_s in waits_s:
        try:
            return write()
        except NO_ANSWER as err:
            _log.warning("the database does not answer; trying again", error=type(err).__name__)
            time.sleep(wait_s)
    return write()


def _end_failed(installation: Installation, row: Row[Any], failure: Failure) -> None:
    state = installation.lifecycle.fail(row.id, row.attempt, failure)
    _log.warning("attempt failed", code=failure.code, message=failure.message, now=state)


def _end_unexpected(installation: Installation, row: Row[Any], err: Exception) -> None:
    _log.error("attempt failed unexpectedly", exc_info=err)
    failure = _failure(
        FailureCode.INTERNAL,
        f"the analysis failed unexpectedly ({type(err).__name__}): the worker's log has the reason"
        " under this scan's id; report it",
    )
    _end_failed(installation, row, failure)


def _failure(code: FailureCode, message: str) -> Failure:
    return AnalysisError(code, message).failure


_NO_MEMORY: Final = "the worker had too little memory for this slide: give it more, or fewer slides"
_NO_DATABASE: Final = "the database did not answer while the slide was in work; it is tried again"
_NO_SPACE: Final = "the disk is full: free space; the scan is tried again"


class Progress:
    """Stores progress now and then, and stops a process whose attempt no longer counts."""

    def __init__(self, advance: Callable[[Stage, int, int], bool]) -> None:
        self._advance = advance
        self._where: tuple[Stage, int, int] = (Stage.OPENING, 0, 0)
        self._stored_at = 0.0

    def note(self, stage: Stage, done: int, total: int) -> None:
        """The pipeline's callback."""
        changed = stage is not self._where[0]
        self._where = (stage, done, total)
        if changed or time.monotonic() - self._stored_at >= PROGRESS_EVERY_S:
            self.check()

    def check(self) -> None:
        """Store where the scan stands; a database that does not answer just now is not waited for.

        Raises:
            Superseded: the attempt no longer counts.
        """
        self._stored_at = time.monotonic()
        try:
            counts = self._advance(*self._where)
        except NO_ANSWER as err:
            _log.warning("progress not stored", error=type(err).__name__)
            return
        if not counts:
            raise Superseded
