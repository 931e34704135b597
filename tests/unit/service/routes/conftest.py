from collections.abc import Iterator

import httpx
import pytest

from service.app import create_app
from service.installation import Installation
from tests.installations import key_of
from tests.serving import served


@pytest.fixture
def client(installation: Installation) -> Iterator[httpx.Client]:
    """An administrator's client of the app."""
    with served(create_app(installation.settings), key_of(installation)) as client:
        yield client
