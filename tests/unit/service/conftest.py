from collections.abc import Iterator
from pathlib import Path

import pytest

from service.installation import Installation
from tests.installations import opened
from tests.servers import Valkey, short_directory


@pytest.fixture(scope="module")
def queue() -> Iterator[Valkey]:
    with short_directory() as directory:
        server = Valkey(directory)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def installation(queue: Valkey, tmp_path: Path, empty_sqlite: Path) -> Iterator[Installation]:
    slides = tmp_path / "slides"
    slides.mkdir()
    with opened(
        tmp_path / "data", queue.url, empty_sqlite=empty_sqlite, slide_roots=(slides,)
    ) as installation:
        installation.redis.flushall()
        yield installation
