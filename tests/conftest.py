import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store.engine import migrate
from tests.servers import (
    Valkey,
    create_database,
    postgresql_binaries,
    running_postgresql,
    short_directory,
)

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A directory for the sockets of all installations of these tests, which goes with them."""
    tmp_path_factory.getbasetemp()  # stays outside: it is kept for whoever looks into a failure
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch:
        directory.chmod(0o711)  # PostgreSQL's user passes through it
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", str(directory))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; it is never part of this repository."""
    if not SHARED.is_dir():
        pytest.skip("real images (../shared/data) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of an empty PostgreSQL database on a server of its own."""
    binaries = postgresql_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with running_postgresql(binaries) as url:
        yield url


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A running Valkey server of the test's own."""
    with short_directory() as directory:
        server = Valkey(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the present schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_database(postgresql: str) -> str:
    """URL of a PostgreSQL database with nothing in it, not even tables."""
    return create_database(postgresql)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_sqlite: Path) -> str:
    """URL of a database with the present schema and nothing in it, of each kind in turn."""
    if request.param == "sqlite":
        shutil.copy(empty_sqlite, tmp_path / "test.db")
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgresql_database")
    migrate(url)
    return url
