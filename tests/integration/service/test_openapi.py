"""The OpenAPI document is the truth: whatever is sent, the answer is one that it describes."""

import subprocess
from pathlib import Path

import pytest

from tests.fuzzing import fuzz, fuzzed
from tests.servers import Valkey

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def judge(done: subprocess.CompletedProcess[str]) -> None:
    """Show what schemathesis says unless it is content."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: " in done.stdout, done.stdout


def test_every_operation_answers_as_described_at_the_edges_of_its_input(
    tmp_path: Path, empty_sqlite: Path, valkey: Valkey
) -> None:
    with fuzzed(tmp_path, valkey.url, empty_sqlite=empty_sqlite) as (client, known):
        judge(fuzz(client, known, phases="examples,coverage", examples=1))


def test_every_operation_on_postgresql_answers_as_described_to_hostile_text(
    tmp_path: Path, postgresql_database: str, valkey: Valkey
) -> None:
    with fuzzed(tmp_path, valkey.url, database_url=postgresql_database) as (client, known):
        judge(fuzz(client, known, phases="fuzzing", examples=12))
