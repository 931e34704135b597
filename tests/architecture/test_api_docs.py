"""docs/api.md says what the HTTP interface does, all of it and nothing else."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.contract.batch import BatchState, ItemState
from service.contract.failure import RETRYABLE, FailureCode
from service.contract.problem import ProblemCode
from service.contract.scan import ScanState, Stage
from service.contract.submission import ScanMetadata
from service.exports.formats import FORMATS
from service.intake.errors import IntakeError
from service.layout import DataRoot
from service.problems import PROBLEMS, VIEWER_PROBLEMS
from service.settings import ServiceSettings
from service.store.keys import Role
from service.webhooks.sending import Notice
from service.webhooks.signature import HEADER, sign

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text("utf-8")


def table(heading: str, *, after: str = "") -> list[list[str]]:
    """Cells of the first table with this first column, below a heading or sentence."""
    text = PAGE[PAGE.index(after) :]
    lines = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def words(cell: str) -> list[str]:
    """What stands in code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The app, not started."""
    settings = ServiceSettings(data=tmp_path_factory.mktemp("data"), _env_file=None)
    DataRoot.of(settings).make()
    return create_app(settings)


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_address_has_a_row_and_no_other_has(document) -> None:
    rows = {(row[0], *words(row[1])) for row in table("method")}
    served = {(method, path) for method, path, _ in operations(document)}
    assert rows == served | {("GET", "/v1/openapi.json")}


def test_a_row_names_a_role_exactly_where_a_key_is_asked(document) -> None:
    rows = {(row[0], *words(row[1])): words(row[2]) for row in table("method")}
    for method, path, operation in operations(document):
        assert bool(rows[method, path]) is ("security" in operation), path


def test_every_role_has_a_row_and_no_other_has() -> None:
    assert [words(row[0])[0] for row in table("role")] == list(Role)


def test_every_problem_code_has_a_row_and_no_other_has() -> None:
    rows = [words(row[0])[0] for row in table("code", after="## Errors")]
    assert sorted(rows) == sorted(ProblemCode)


def kinds_of(error: type[IntakeError]) -> Iterator[type[IntakeError]]:
    if hasattr(error, "code"):
        yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


def sent() -> Iterator[tuple[str, int]]:
    for status, code, _ in PROBLEMS.values():
        yield code, status
    for status, code in VIEWER_PROBLEMS.values():
        yield code, status
    for kind in kinds_of(IntakeError):
        yield kind.code, kind.status


@pytest.mark.parametrize(("code", "status"), sorted({*sent()}))
def test_a_problem_code_is_listed_with_every_status_it_is_sent_with(code: str, status: int) -> None:
    (row,) = (row for row in table("code", after="## Errors") if row[0] == f"`{code}`")
    assert str(status) in row[1].split(", ")


def test_every_failure_code_has_a_row_with_whether_a_retry_may_help_and_no_other_has() -> None:
    rows = {words(row[0])[0]: row[1] for row in table("code", after="A scan that was taken")}
    assert rows == {code: "yes" if code in RETRYABLE else "no" for code in FailureCode}


def test_every_state_of_a_scan_has_a_row_and_no_other_has() -> None:
    assert [words(row[0])[0] for row in table("state")] == list(ScanState)


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("Stages: ", Stage),
        ("\nStates: ", BatchState),
        ("Items: ", ItemState),
        ("`report.{suffix}` (", FORMATS),
    ],
)
def test_a_list_of_words_is_complete(sentence: str, values) -> None:  # type: ignore[no-untyped-def]
    text = PAGE.split(sentence)[1]
    assert set(words(text)[: len(values)]) == {str(value) for value in values}


def test_every_field_of_the_metadata_has_a_row_and_no_other_has() -> None:
    rows = [word for row in table("field") for word in words(row[0])]
    assert sorted(rows) == sorted(ScanMetadata.model_fields)


def test_every_setting_on_the_page_exists() -> None:
    known = {f"SMEARSCAN_{name.upper()}" for name in ServiceSettings.model_fields}
    assert set(re.findall(r"SMEARSCAN_[A-Z0-9_]+", PAGE)) <= known


def test_the_sample_of_a_webhook_has_the_fields_of_one() -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert re.findall(
        r'"(\w+)": ["{]', sample.replace('{"scan_id": "…", "state": "succeeded"}', "{")
    ) == [*Notice.model_fields]


@pytest.fixture(scope="module")
def is_genuine() -> Callable[..., bool]:
    """The page's own function."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    found: Callable[..., bool] = scope["is_genuine"]
    return found


BODY = '{"event": "scan.ended", "name": "Ä"}'.encode()


def test_the_pages_function_takes_what_the_service_signs(is_genuine) -> None:
    assert f"`{HEADER}`" in PAGE
    assert is_genuine("s3cret", sign(b"s3cret", BODY, int(time.time())), BODY)


@pytest.mark.parametrize(
    "signature",
    [
        sign(b"another", BODY, int(time.time())),
        sign(b"s3cret", BODY + b" ", int(time.time())),
        sign(b"s3cret", BODY, int(time.time()) - 3600),
        sign(b"s3cret", BODY, int(time.time()) + 3600),
        f"v1={hmac.new(b's3cret', b'.' + BODY, hashlib.sha256).hexdigest()}",
        "t=²,v1=é",
        "",
    ],
    ids=["another-key", "another-body", "old", "future", "no-time", "odd", "empty"],
)
def test_the_pages_function_refuses_what_the_service_did_not_sign_now(
    is_genuine, signature: str
) -> None:
    assert not is_genuine("s3cret", signature, BODY)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (DOCS / target).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", PAGE):
        assert re.search(rf"^#+ {anchor}$", PAGE, re.MULTILINE | re.IGNORECASE), anchor


def test_every_operation_and_parameter_is_described(document) -> None:
    for method, path, operation in operations(document):
        assert operation.get("description"), f"{method} {path}"
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{method} {path} {parameter['name']}"


def test_every_error_is_a_problem_document(document) -> None:
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                content = response["content"]
                assert list(content) == ["application/problem+json"], f"{method} {path} {status}"
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document) -> None:
    schemas = document["components"]["schemas"]
    for name in re.findall(r"'#/components/schemas/(\w+)'", str(document)):
        assert name in schemas


def test_the_main_calls_have_examples(document) -> None:
    for path in ("/v1/scans", "/v1/batches"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        for kind, described in content.items():
            assert described.get("examples"), f"{path} {kind}"
