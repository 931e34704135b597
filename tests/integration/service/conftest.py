import pytest

from tests.running_service import RunningService
from worker.demo import write_demo_slide


@pytest.fixture(scope="session")
def demo_slide(tmp_path_factory) -> bytes:
    """A rendered smear of a few cells."""
    path = tmp_path_factory.mktemp("slide") / "demo.tiff"
    write_demo_slide(path, mm2=0.1, seed=3, leukocytes=25, blast_fraction=0.1)
    return path.read_bytes()


def variant(slide: bytes, number: int) -> bytes:
    """The same picture as other bytes: what follows a TIFF's last directory is not looked at."""
    return slide + f"slide {number}".encode()


@pytest.fixture
def service(tmp_path):
    with RunningService(tmp_path / "data") as service:
        yield service
