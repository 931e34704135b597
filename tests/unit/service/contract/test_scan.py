from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from models.taxonomy import ATYPICAL, BLAST, CellClass
from service.contract.failure import Failure, FailureCode
from service.contract.scan import (
    ATYPICALS,
    BLASTS,
    CellGroup,
    Priority,
    Progress,
    RegionChoice,
    Scan,
    ScanParameters,
    ScanState,
    Stage,
)

NOW = datetime(2025, 1, 31, 9, 30, tzinfo=UTC)
LOST = Failure(code=FailureCode.WORKER_LOST, message="gone", retryable=True)


def scan(**changes: Any) -> Scan:
    queued: dict[str, Any] = {
        "scan_id": "scan-0001",
        "state": ScanState.QUEUED,
        "parameters": ScanParameters(),
        "priority": Priority.INTERACTIVE,
        "submitted_at": NOW,
    }
    return Scan(**(queued | changes))


def test_the_default_groups_are_those_of_the_paper() -> None:
    assert set(BLASTS.classes) == BLAST
    assert set(ATYPICALS.classes) == ATYPICAL


def test_a_group_is_kept_in_taxonomy_order_without_duplicates() -> None:
    group = CellGroup(name="apl", classes=(CellClass.PMO, CellClass.MOB, CellClass.PMO))
    assert group.classes == (CellClass.MOB, CellClass.PMO)


def test_a_group_without_classes_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        CellGroup(name="nothing", classes=())


def test_cells_are_counted_on_the_monolayer_unless_asked_otherwise() -> None:
    assert ScanParameters().region is RegionChoice.MONOLAYER


@pytest.mark.parametrize("um_per_px", [0.02, 10])
def test_a_plausible_resolution_is_accepted(um_per_px: float) -> None:
    assert ScanParameters(um_per_px=um_per_px).um_per_px == um_per_px


@pytest.mark.parametrize("um_per_px", [0.019, 10.1, 0, -1, float("nan"), float("inf")])
def test_an_implausible_resolution_is_refused(um_per_px: float) -> None:
    with pytest.raises(ValidationError):
        ScanParameters(um_per_px=um_per_px)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ScanParameters.model_validate({"mpp": 0.25})


def test_a_scan_survives_json() -> None:
    running = scan(
        state=ScanState.RUNNING,
        stage=Stage.DETECTING,
        progress=Progress(done=3, total=10),
        started_at=NOW,
    )
    assert Scan.model_validate_json(running.model_dump_json()) == running


def test_progress_may_reach_its_total() -> None:
    assert Progress(done=10, total=10).done == 10


def test_progress_beyond_its_total_is_refused() -> None:
    with pytest.raises(ValidationError, match="11 units done of 10"):
        Progress(done=11, total=10)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ScanState.RUNNING}, "a stage exactly while running"),
        ({"stage": Stage.OPENING}, "a stage exactly while running"),
        ({"progress": Progress(done=0, total=1)}, "progress without a stage"),
        ({"state": ScanState.FAILED, "finished_at": NOW}, "a failed scan has a failure"),
        (
            {"state": ScanState.CANCELLED, "finished_at": NOW, "failure": LOST},
            "no failure when cancelled",
        ),
        ({"state": ScanState.SUCCEEDED}, "an end exactly when it is over"),
        ({"finished_at": NOW}, "an end exactly when it is over"),
        ({"scan_id": "../etc"}, "pattern"),
        ({"submitted_at": datetime(2025, 1, 31, 9, 30)}, "timezone"),
    ],
)
def test_a_scan_that_contradicts_itself_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        scan(**changes)


def test_a_scan_that_waits_for_another_try_says_why_the_last_one_failed() -> None:
    assert scan(failure=LOST, tries=1).failure == LOST


def test_exactly_the_last_three_states_are_terminal() -> None:
    terminal = {state for state in ScanState if state.is_terminal}
    assert terminal == {ScanState.SUCCEEDED, ScanState.FAILED, ScanState.CANCELLED}
