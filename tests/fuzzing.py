"""Requests that nobody would write by hand, made from the OpenAPI document (schemathesis).

`python -m tests.fuzzing --examples 300 --seed 7` runs longer than the test does, and leaves the
last report in the terminal; `--database postgresql+psycopg://…` names an empty database.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from service.app import create_app
from service.batches.asking import ask
from service.contract.batch import BatchRequest
from service.contract.failure import AnalysisError, FailureCode
from service.installation import Installation
from service.store.models import ServedModel
from tests.installations import MODEL_SHA256, finished_scan, key_of, opened, waiting_scan
from tests.servers import Valkey, short_directory
from tests.serving import served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
HOSTILE = (
    "\x00",
    "a\x00b",
    "../../../../etc/passwd",
    "%00",
    "%2e%2e%2f",
    "\u202eevil",
    "\U0001f600" * 40,
    "e\u0301\ufffe\uffff",
    "'; DROP TABLE scans; --",
    "a" * 300,
    "9" * 40,
    "-1",
    "1e309",
    "NaN",
    "\u0661\u0662",  # Arabic digits
)
"""Text that breaks what takes text at its word; PostgreSQL refuses U+0000."""
_HOOKS = """
import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
NO_VIEWER = ("2xx", "3xx", "4xx", "503")
"""Pixels without a viewer: unavailable, with `Retry-After`."""


@dataclass(frozen=True)
class Known:
    """Names of what is there."""

    scans: tuple[str, ...]
    disposable: tuple[str, ...]
    batches: tuple[str, ...]
    uploads: tuple[str, ...]


@contextmanager
def peopled(directory: Path, redis_url: str, **given: Any) -> Iterator[tuple[Installation, Known]]:
    """An installation in use: scans in every state, a batch, a resumable upload.

    Args:
        directory: of the test's own.
        redis_url: of a running Valkey.
        given: as `tests.installations.opened` takes it.
    """
    archive = directory / "archive"
    archive.mkdir()
    for number in range(3):
        (archive / f"{number}.tif").write_bytes(b"II*\x00" + bytes([number]))
    with opened(directory / "data", redis_url, slide_roots=(archive,), **given) as installation:
        installation.models.announce([ServedModel("small", "1", MODEL_SHA256, is_default=True)])
        yield installation, _fill(installation, archive)


def _fill(installation: Installation, archive: Path) -> Known:
    finished = [finished_scan(installation, number, accession="A-1") for number in range(1, 4)]
    waiting = [waiting_scan(installation, number) for number in range(10, 13)]
    running = waiting_scan(installation, 20)
    installation.lifecycle.claim(running, 1, "test")
    failed = waiting_scan(installation, 21)
    installation.lifecycle.claim(failed, 1, "test")
    error = AnalysisError(FailureCode.UNSUPPORTED_FORMAT, "the file is text")
    installation.lifecycle.fail(failed, 1, error.failure)
    disposable = [waiting_scan(installation, number) for number in range(30, 60)]
    for scan_id in disposable[::2]:
        installation.scans.cancel(scan_id)
    roots = BatchRequest(name="archive", roots=(str(archive),))
    manifest = BatchRequest(name="list", manifest=f"slide_uri\n{archive}/0.tif\n")
    batches = [
        ask(installation, asked, submitted_by="test")[0].batch_id for asked in (roots, manifest)
    ]
    return Known(
        scans=(*finished, waiting[0], running, failed),
        disposable=tuple(disposable),
        batches=tuple(batches),
        uploads=(),
    )


def begin_uploads(client: httpx.Client, count: int = 4) -> tuple[str, ...]:
    """Resumable uploads that have not come to their end; returns their names."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "100"}
    created = [client.post("/v1/uploads", headers=headers) for _ in range(count)]
    return tuple(answer.headers["location"].rpartition("/")[2] for answer in created)


def fuzz(
    client: httpx.Client, known: Known, *, phases: str, examples: int, seed: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run schemathesis, in a process of its own, against a served app.

    Args:
        client: whose address and headers are used.
        known: names with which paths are filled most of the time.
        phases: of schemathesis, comma-separated.
        examples: per operation, at most.
        seed: decides what is sent; None: the same every time.
    """
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "schemathesis.toml"
        hooks = config.with_name("hooks.py")
        hooks.write_text(_HOOKS, "utf-8")
        config.write_text(_configure(client, known, hooks), "utf-8")
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            f"{client.base_url}/v1/openapi.json",
            *(["--generation-deterministic"] if seed is None else ["--seed", str(seed)]),
            *("--phases", phases, "--max-examples", str(examples), "--checks", ",".join(CHECKS)),
            *("--no-shrink", "--continue-on-failure", "--no-color"),
            *("--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "30"),
        ]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "NO_PROXY": "*"}
        return subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )


def _configure(client: httpx.Client, known: Known, hooks: Path) -> str:
    """TOML; JSON's strings, numbers and lists are TOML's too."""
    lists = {
        "scans": known.scans,
        "disposable": known.disposable,
        "batches": known.batches,
        "uploads": known.uploads,
        "hostile": HOSTILE,
    }
    dictionaries = "\n".join(
        f"[dictionaries.{name}]\nvalues = {json.dumps(values, ensure_ascii=False)}"
        for name, values in lists.items()
    )
    return f"""
hooks = {json.dumps(str(hooks))}

[headers]
Authorization = {json.dumps(client.headers["authorization"])}

{dictionaries}

[checks.negative_data_rejection]
expected-statuses = ["4xx", "5xx"]

[checks.missing_required_header]
expected-statuses = ["4xx"]

[generation]
allow-extra-parameters = false

[generation.dictionaries]
string = {{ dictionary = "hostile", probability = 0.2 }}

# A queued scan's stream goes on for ever: its first event is enough.
[[operations]]
include-path = "/v1/scans/{{scan_id}}/events"
max-stream-events = 1

[parameters]
"path.scan_id" = {{ dictionary = "scans", probability = 0.8 }}
"path.batch_id" = {{ dictionary = "batches", probability = 0.8 }}
"path.upload_id" = {{ dictionary = "uploads", probability = 0.8 }}

[[operations]]
include-name = ["DELETE /v1/scans/{{scan_id}}", "POST /v1/scans/{{scan_id}}/cancel"]
parameters = {{ "path.scan_id" = {{ dictionary = "disposable", probability = 0.8 }} }}

[[operations]]
include-tag = "viewing"
checks.not_a_server_error.expected-statuses = {json.dumps(NO_VIEWER)}

[[operations]]
include-path = "/readyz"
checks.not_a_server_error.expected-statuses = {json.dumps(NO_VIEWER)}
"""


def main() -> int:
    """Fuzz an installation of its own; the exit code is schemathesis's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database")
    asked = parser.parse_args()
    given = {} if asked.database is None else {"database_url": asked.database}
    with short_directory() as queue, tempfile.TemporaryDirectory() as directory:
        valkey = Valkey(queue)
        valkey.start()
        try:
            with fuzzed(Path(directory), valkey.url, **given) as (client, known):
                done = fuzz(
                    client, known, phases=asked.phases, examples=asked.examples, seed=asked.seed
                )
        finally:
            valkey.stop()
    print(done.stdout, done.stderr)
    return done.returncode


@contextmanager
def fuzzed(directory: Path, redis_url: str, **given: Any) -> Iterator[tuple[httpx.Client, Known]]:
    """An administrator's client of a served app with something in it, and the names of that."""
    with plain_logs(), peopled(directory, redis_url, **given) as (installation, known):
        app = create_app(installation.settings)
        with served(app, key_of(installation)) as client:
            uploads = begin_uploads(client)
            yield client, Known(known.scans, known.disposable, known.batches, uploads)


@contextmanager
def plain_logs() -> Iterator[None]:
    """Warnings alone, without the values of locals: to print those takes longer than a request
    may."""
    before = structlog.get_config()
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    level = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=level, processors=[renderer])
    try:
        yield
    finally:
        structlog.configure(**before)


if __name__ == "__main__":
    raise SystemExit(main())
