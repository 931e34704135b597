"""The whole app on a disk that is full: uploads, and the database itself."""

import pytest

from service.app import create_app
from tests.disks import filled, free_bytes, mounted
from tests.installations import key_of, opened
from tests.serving import served
from tests.slide_bytes import slide_bytes

pytestmark = pytest.mark.integration

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "data", 16 * MIB) as disk:
        yield disk


@pytest.fixture
def front(disk, valkey, empty_sqlite):
    with (
        opened(disk, valkey.url, empty_sqlite=empty_sqlite) as installation,
        served(create_app(installation.settings), key_of(installation)) as client,
    ):
        yield installation, client


def post(client, content):
    return client.post("/v1/scans", files={"slide": ("a.tiff", content)})


def assert_nothing_is_left(installation):
    assert list(installation.layout.uploads.iterdir()) == []
    assert [path for path in installation.layout.slides.rglob("*") if path.is_file()] == []
    assert installation.jobs.waiting() == set()


def test_an_upload_that_does_not_fit_is_a_problem_document_and_leaves_nothing(front, disk):
    installation, client = front
    answer = post(client, slide_bytes(20 * MIB))
    assert answer.status_code == 507
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "storage_full"
    assert int(answer.headers["retry-after"]) > 0
    assert str(disk) not in answer.text
    assert_nothing_is_left(installation)
    assert post(client, slide_bytes(4 * MIB)).status_code == 202


def test_a_database_without_room_refuses_and_goes_on_when_there_is_some(front, disk):
    installation, client = front
    with filled(disk):
        answer = post(client, slide_bytes(1000))
        assert answer.status_code in {503, 507}
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(disk) not in answer.text
        assert free_bytes(disk) < MIB
    assert installation.jobs.waiting() == set()
    assert post(client, slide_bytes(1000)).status_code == 202
