"""The OpenAPI document is the truth: whatever is sent, the answer is one that it describes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.store.keys import Role
from tests.fuzzing import fuzz, fuzzed, peopled
from tests.installations import key_of
from tests.servers import Valkey, short_directory
from tests.serving import served

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture(scope="module")
def queue() -> Iterator[Valkey]:
    with short_directory() as directory:
        server = Valkey(directory)
        server.start()
        yield server
        server.stop()


def judge(done: subprocess.CompletedProcess[str]) -> None:
    """Show what schemathesis says unless it is content."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: " in done.stdout, done.stdout


@pytest.mark.slow
def test_every_operation_answers_as_described_at_the_edges_of_its_input(
    tmp_path: Path, empty_sqlite: Path, queue: Valkey
) -> None:
    with fuzzed(tmp_path, queue.url, empty_sqlite=empty_sqlite) as (client, known):
        judge(fuzz(client, known, phases="coverage", examples=1))


@pytest.mark.slow
def test_every_operation_on_postgresql_answers_as_described_to_hostile_text(
    tmp_path: Path, postgresql_database: str, queue: Valkey
) -> None:
    with fuzzed(tmp_path, queue.url, database_url=postgresql_database) as (client, known):
        judge(fuzz(client, known, phases="fuzzing", examples=12))


def rows_of_addresses() -> Iterator[tuple[str, str, str]]:
    """Method, address and role of the table in docs/api.md."""
    lines = PAGE.read_text("utf-8").split("## Every address")[1].strip().splitlines()
    for line in lines[2:]:
        method, address, role, _ = (cell.strip(" `") for cell in line.strip("|").split(" | "))
        yield method, address, role


def test_a_key_opens_what_the_page_says_its_role_opens_and_nothing_else(
    tmp_path: Path, empty_sqlite: Path, queue: Valkey
) -> None:
    with peopled(tmp_path, queue.url, empty_sqlite=empty_sqlite) as (installation, _):
        keys = {role: key_of(installation, role) for role in Role}
        with served(create_app(installation.settings)) as client:
            for method, address, needed in rows_of_addresses():
                for role, headers in keys.items():
                    refused = needed != "–" and role not in {needed, Role.ADMIN}
                    status = ask(client, method, address, headers)
                    assert (status == 403) is refused, f"{method} {address} as {role}: {status}"
                assert (ask(client, method, address, {}) == 401) is (needed != "–"), address


def ask(client: httpx.Client, method: str, address: str, headers: dict[str, str]) -> int:
    """The status of a request about things that are not there."""
    for name, value in {"column": "0", "row": "0", "level": "0", "cell_id": "1"}.items():
        address = address.replace(f"{{{name}}}", value)
    address = address.replace("{suffix}", "json")
    for name in ("scan_id", "batch_id", "upload_id"):
        address = address.replace(f"{{{name}}}", "0" * 32)
    return client.request(method, address, headers=headers).status_code
