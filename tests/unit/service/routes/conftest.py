from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.installation import Installation
from tests.installations import key_of, opened
from tests.servers import Valkey, short_directory
from tests.serving import served


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


@pytest.fixture
def client(installation: Installation) -> Iterator[httpx.Client]:
    """An administrator's client of the app."""
    with served(create_app(installation.settings), key_of(installation)) as client:
        yield client
