"""A real installation for tests: database, queue server, keys, finished scans."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.contract.cell import DoubtfulObject
from service.contract.submission import ScanMetadata
from service.installation import Installation
from service.layout import DataRoot
from service.settings import ServiceSettings
from service.store.creation import NewScan, SlideSource
from service.store.engine import database_url, migrate
from service.store.keys import Role
from tests.analyses import random_cells, report_of
from worker.cells import ClassifiedCells
from worker.results import Results, write_results

MODEL_SHA256 = "2" * 64
"""Of the classifier in `tests.analyses`."""


@contextmanager
def opened(
    data: Path, redis_url: str, *, empty_sqlite: Path | None = None, **settings: Any
) -> Iterator[Installation]:
    """An installation with the present schema, nothing in it; a copied file saves migrating."""
    given = ServiceSettings(
        data=data, redis_url=redis_url, min_free_bytes=0, _env_file=None, **settings
    )
    DataRoot.of(given).make()
    if empty_sqlite is None:
        migrate(database_url(given))
    else:
        shutil.copy(empty_sqlite, DataRoot.of(given).database)
    installation = Installation.open(given)
    try:
        yield installation
    finally:
        installation.close()


def key_of(installation: Installation, *roles: Role) -> dict[str, str]:
    """Headers of a client with these roles."""
    _, secret = installation.keys.create("test", frozenset(roles or {Role.ADMIN}))
    return {"Authorization": f"Bearer {secret}"}


def waiting_scan(installation: Installation, number: int = 1, **metadata: Any) -> str:
    """A scan in the queue, of a slide that is stored; returns its name."""
    sha256 = f"{number:064x}"
    path = installation.layout.slide_of(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"II*\x00")
    created = installation.scans.create(
        NewScan(
            SlideSource(size_bytes=4, format="tiff", sha256=sha256),
            ScanMetadata(**metadata),
            submitted_by="test",
            model_sha256=MODEL_SHA256,
        )
    )
    return created.scan.scan_id


def finished_scan(
    installation: Installation,
    number: int = 1,
    cells: ClassifiedCells | None = None,
    doubtful: tuple[DoubtfulObject, ...] = (),
    **metadata: Any,
) -> str:
    """A scan that succeeded, with its result files; returns its name."""
    scan_id = waiting_scan(installation, number, **metadata)
    assert installation.lifecycle.claim(scan_id, 1, "test") is not None
    report, table = report_of(random_cells(200) if cells is None else cells)
    slide = report.slide.model_copy(update={"sha256": f"{number:064x}"})
    report = report.model_copy(update={"scan_id": scan_id, "slide": slide})
    results = Results(
        report=report,
        cells=table,
        galleries=(),
        patches={},
        doubtful=doubtful,
        overview_jpeg=None,
    )
    write_results(installation.layout.result_of(scan_id, 1), results)
    assert installation.lifecycle.succeed(scan_id, 1, report)
    return scan_id
