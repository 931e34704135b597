import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from service.app import create_app
from service.batches import BatchFeeder
from service.cli import main
from service.installation import Installation
from service.store.engine import migrate
from service.store.keys import Role
from tests.batches import running_installation, work_off
from tests.serving import served


@dataclass(frozen=True)
class Service:
    """A running service, and the command line that talks to it."""

    installation: Installation
    archive: Path
    url: str
    run: Callable[..., Result]

    @contextmanager
    def working(self, **work) -> Iterator[None]:
        """Reconciler and workers, until left."""
        stop = threading.Event()
        feeder = BatchFeeder(self.installation)

        def work_on() -> None:
            while not stop.wait(0.05):
                feeder.run_once()
                work_off(self.installation, **work)

        thread = threading.Thread(target=work_on)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture(autouse=True)
def _logs_apart() -> Iterator[None]:
    """The service's log does not go where the command line prints: here they are one process."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrate(url)
    archive = tmp_path / "archive"
    archive.mkdir()
    with (
        running_installation(tmp_path, url, archive=archive) as installation,
        served(create_app(installation.settings)) as client,
    ):
        _, secret = installation.keys.create("test", frozenset({Role.SUBMIT, Role.READ}))
        address = str(client.base_url)

        def run(*words: str, key: str = secret, server: str = address) -> Result:
            environment = {"SMEARSCAN_SERVER": server, "SMEARSCAN_KEY": key, "COLUMNS": "200"}
            return CliRunner().invoke(main, [str(word) for word in words], env=environment)

        yield Service(installation, archive, address, run)
