"""An archive of 100,000 slides is listed by a process that is killed in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.contract.batch import BatchState
from service.store.engine import migrate
from tests.batches import begin, running_installation

SLIDES = 100_000
IN_ONE = 20_000
"""Slides of the largest directory."""
MAX_GROWTH_MIB = 48

LISTER = """
import structlog
from service.batches import BatchFeeder
from service.installation import Installation
from service.settings import ServiceSettings
from tests.memory import peak_mib

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
installation = Installation.open(ServiceSettings())
feeder = BatchFeeder(installation)
before = None
while True:
    feeder.run_once()
    (batch,) = installation.batches.list(state=None, limit=1)
    before = before or peak_mib()
    print(batch.counts.total, peak_mib() - before, flush=True)
    if batch.is_listed:
        break
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("archive").resolve()
    for number in range(SLIDES):
        folder = "all" if number < IN_ONE else f"{number // 1000:03}"
        if number < IN_ONE + 1 or number % 1000 == 0:
            (root / folder).mkdir(exist_ok=True)
        (root / folder / f"slide-{number:06}.svs").write_bytes(b"II*\0")
    return root


@pytest.mark.slow
@pytest.mark.integration
def test_100_000_slides_are_listed_once_each_in_little_memory_whatever_is_killed(archive, tmp_path):
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrate(url)
    environment = {
        **os.environ,
        "SMEARSCAN_DATA": str(tmp_path / "data"),
        "SMEARSCAN_DATABASE_URL": url,
        "SMEARSCAN_SLIDE_ROOTS": f'["{archive}"]',
        "SMEARSCAN_ARCHIVE_AHEAD": "1",
    }
    with running_installation(tmp_path, url, archive=archive, ahead=1) as installation:
        batch = begin(installation, archive)

        def list_until(slides: int) -> int:
            """Run a lister and kill it once it has found so many; returns its growth, MiB."""
            lister = subprocess.Popen(
                [sys.executable, "-c", LISTER], stdout=subprocess.PIPE, env=environment, text=True
            )
            assert lister.stdout is not None
            growth = 0
            for line in lister.stdout:
                found, growth = (int(word) for word in line.split())
                if found >= slides:
                    lister.send_signal(signal.SIGKILL)
                    break
            lister.stdout.close()
            lister.wait()
            return growth

        for slides in (1, SLIDES // 2):
            list_until(slides)
            assert installation.batches.get(batch.batch_id).state is BatchState.LISTING
        growth = list_until(SLIDES + 1)
        batch = installation.batches.get(batch.batch_id)
        assert batch.state is BatchState.RUNNING
        assert batch.counts.total == SLIDES
        found = [row.slide_uri for row in installation.batch_items.with_results(batch.batch_id)]
        assert len(set(found)) == SLIDES
        assert growth < MAX_GROWTH_MIB, f"{growth} MiB"
        assert (batch.counts.submitted, batch.counts.failed) == (1, 0)
