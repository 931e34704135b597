import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

import service.edge  # noqa: F401 - counts requests
from service.contract.health import ModelState, OperationState
from service.health import MODEL_KEYS
from service.metrics import write_metrics
from service.store.columns import now
from service.store.engine import writing
from service.store.tables import ScanRow
from tests.installations import waiting_scan


def samples(installation) -> dict[str, dict[tuple[str, ...], float]]:
    """Value by name and label values, in alphabetical order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(write_metrics(installation).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(value for _, value in sorted(sample.labels.items()))
            ] = sample.value
    return found


def announce(installation, process: str, **operations: OperationState) -> None:
    state = ModelState(process=process, uptime_s=9, connections=2, refused=1, operations=operations)
    installation.redis.set(f"{MODEL_KEYS}{process}", state.model_dump_json())


def test_model_processes_tell_how_many_cells_they_classified_and_in_what_batches(installation):
    classify = OperationState(batches=5, rows=40, joined=1, busy_s=2.5, batch_rows={16: 2, 4: 3})
    announce(installation, "a-1", classify=classify)
    announce(installation, "b-1")
    found = samples(installation)
    assert found["smearscan_cells_total"] == {("a-1",): 40, ("b-1",): 0}
    of_a = {limit: n for (limit, *_), n in found["smearscan_model_batch_rows_bucket"].items()}
    assert of_a == {"4.0": 3, "16.0": 5, "+Inf": 5}
    assert found["smearscan_model_batch_rows_count"] == {("classify", "a-1"): 5}
    assert found["smearscan_model_batch_rows_sum"] == {("classify", "a-1"): 40}
    assert found["smearscan_model_busy_seconds_total"] == {("classify", "a-1"): 2.5}
    assert found["smearscan_model_uptime_seconds"] == {("a-1",): 9, ("b-1",): 9}


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"process": "a", "stats": {}}'])
def test_what_a_model_process_of_another_version_says_is_passed_over(installation, text):
    installation.redis.set(f"{MODEL_KEYS}a", text)
    announce(installation, "b")
    found = samples(installation)
    assert found["smearscan_cells_total"] == {("b",): 0}
    assert found["smearscan_up"]["queue",] == 1


def test_the_longest_wait_is_that_of_the_oldest_scan_that_waits(installation):
    assert "smearscan_longest_wait_seconds" not in samples(installation)
    old, _ = waiting_scan(installation), waiting_scan(installation)
    with writing(installation.engine) as connection:
        connection.execute(
            update(ScanRow).where(ScanRow.id == old).values(submitted_at=now() - timedelta(hours=1))
        )
    (wait,) = samples(installation)["smearscan_longest_wait_seconds"].values()
    assert wait == pytest.approx(3600, abs=60)


def test_operations_tells_of_every_metric_and_of_no_other(installation):
    announce(
        installation,
        "a",
        classify=OperationState(batches=1, rows=1, joined=0, busy_s=1, batch_rows={1: 1}),
    )
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    told = set(re.findall(r"^\| (`smearscan_.*?) \|", page, re.M))
    told = set(re.findall(r"smearscan_\w+", " ".join(told)))
    families = text_string_to_metric_families(write_metrics(installation).decode())
    given = {
        family.name + "_total" * (family.type == "counter")
        for family in families
        if family.name.startswith("smearscan_") and not family.name.endswith("_created")
    }
    assert told == given
