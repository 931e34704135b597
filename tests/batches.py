"""An installation with slide roots and a served model, and files that stand for slides."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.taxonomy import CellClass
from service.batches import BatchFeeder
from service.batches.asking import ask
from service.contract.batch import Batch, BatchRequest, ItemState
from service.contract.failure import AnalysisError, FailureCode
from service.contract.scan import ScanState
from service.installation import Installation
from service.settings import ServiceSettings
from service.store.models import ServedModel
from service.store.scans import ScanFilter
from tests.analyses import cells_with, report_of
from worker.results import Results, write_results

MODEL = "2" * 64
"""SHA-256 of the model that is served."""
IT_IS_TEXT = AnalysisError(FailureCode.UNSUPPORTED_FORMAT, "the file is text").failure


@contextmanager
def running_installation(
    directory: Path, database: str, *, archive: Path, ahead: int = 4, model: str = MODEL
) -> Iterator[Installation]:
    """An installation whose queue's server is down: batches need SQL alone."""
    settings = ServiceSettings(
        data=directory / "data", database_url=database, slide_roots=(archive,), archive_ahead=ahead
    )
    installation = Installation.open(settings)
    installation.layout.make()
    serve_model(installation, model)
    try:
        yield installation
    finally:
        installation.close()


def serve_model(installation: Installation, sha256: str) -> None:
    """As a model process does when it starts."""
    installation.models.announce([ServedModel("small", "1", sha256, is_default=True)])


def write_slides(directory: Path, names: Iterable[str]) -> list[str]:
    """Files with something in them; returns their paths, sorted."""
    paths = [directory / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"II*\0" + path.name.encode())
    return sorted(str(path) for path in paths)


def begin(installation: Installation, root: Path, **asked) -> Batch:
    request = BatchRequest(**{"name": "archive", "roots": (str(root),), **asked})
    return ask(installation, request, submitted_by="lis")[0]


def work_off(
    installation: Installation,
    *,
    fail: Iterable[str] = (),
    limit: int = 1000,
    written: bool = False,
) -> int:
    """What workers do with the scans that wait: succeed, or fail those whose URI ends so.

    Args:
        installation: whose scans.
        fail: ends of URIs.
        limit: of scans, the newest.
        written: put results in place, too.
    """
    report, cells = report_of(cells_with({CellClass.NGS: 3}))
    model = report.model.model_copy(update={"sha256": installation.models.sha256_of(None)})
    report = report.model_copy(update={"model": model})
    waiting = installation.scans.list(ScanFilter(state=ScanState.QUEUED), limit=limit)
    for scan in reversed(waiting):
        row = installation.scans.row(scan.scan_id)
        if installation.lifecycle.claim(row.id, row.attempt, "worker") is None:
            continue
        if row.slide_uri is not None and row.slide_uri.endswith(tuple(fail)):
            installation.lifecycle.fail(row.id, row.attempt, IT_IS_TEXT)
            continue
        report = report.model_copy(update={"scan_id": row.id})
        if written:
            results = Results(
                report=report, cells=cells, galleries=(), patches={}, overview_jpeg=None
            )
            write_results(installation.layout.result_of(row.id, row.attempt), results)
        installation.lifecycle.succeed(row.id, row.attempt, report)
    return len(waiting)


def run_to_end(installation: Installation, feeder: BatchFeeder, batch: Batch, **work) -> Batch:
    """Rounds of the reconciler and of workers until nothing more happens."""
    for _ in range(200):
        feeder.run_once()
        batch = installation.batches.get(batch.batch_id)
        if batch.finished_at is not None:
            return batch
        work_off(installation, **work)
    raise AssertionError(f"the batch did not end: {batch}")


def items_of(installation: Installation, batch: Batch, state: ItemState | None = None):
    return installation.batch_items.page(batch.batch_id, state=state, limit=10_000, after=0)
