from collections.abc import Iterator
from pathlib import Path

import pytest

from service.batches import BatchFeeder
from service.installation import Installation
from tests.batches import running_installation


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A slide root with nothing in it."""
    root = tmp_path / "archive"
    root.mkdir()
    return root


@pytest.fixture
def installation(tmp_path: Path, database: str, archive: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, database, archive=archive) as installation:
        yield installation


@pytest.fixture
def feeder(installation: Installation) -> BatchFeeder:
    return BatchFeeder(installation)
