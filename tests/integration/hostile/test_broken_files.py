"""Broken and odd files through the main job: a report that counts its holes, or a typed failure.

Each in bounded time and memory, whatever it claims to be. See the tables of the modules beside.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service.contract.failure import FailureCode
from tests.integration.hostile import directories, headers, pyramids, samples, strangers, tiles
from tests.integration.hostile.outcomes import HOLES, WHOLE, Defect, Outcome
from tests.integration.hostile.scanner import Scanner
from tests.integration.hostile.sound import PLANTED, write_sound

pytestmark = pytest.mark.integration

TABLES = (directories, headers, pyramids, samples, strangers, tiles)
MOST_MIB = 600
"""Of resident memory that a scan may add: a sound slide of any size takes less than 530."""
REMEDY = re.compile(
    r"(: |; |, or )(check|copy|correct|count|export|give|scan|send) ", re.IGNORECASE
)


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    scanner = Scanner()
    yield scanner
    scanner.close()


@cache
def sound_bytes(folder: Path) -> bytes:
    return write_sound(folder / "sound.tiff").read_bytes()


@pytest.fixture
def slide(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path / "patient.tiff"
    path.write_bytes(sound_bytes(tmp_path_factory.getbasetemp()))
    return path


@pytest.mark.parametrize(
    ("damage", "outcome"),
    [
        pytest.param(defect, outcome, id=f"{defect.__name__}")
        for table in TABLES
        for defect, outcome in table.CASES.items()
    ],
)
def test_it_is_a_report_with_its_holes_counted_or_a_typed_failure(
    damage: Defect, outcome: Outcome, slide: Path, scanner: Scanner
) -> None:
    damage(slide)
    answer = scanner.scan(slide, max_tiles_failed_share=1.0 if outcome is HOLES else 0.05)
    assert answer["peak_mib"] < MOST_MIB
    if isinstance(outcome, FailureCode):
        failure = answer.get("failure", answer)
        assert failure.get("code") == outcome, failure
        assert REMEDY.search(failure["message"]), failure["message"]
        assert str(slide.parent) not in failure["message"]
        assert slide.name not in failure["message"]
        return
    report = answer.get("report", answer)
    region = report.get("region", report)
    holes = region.get("tiles_failed", 0) + region.get("cells_unread", 0)
    if outcome is WHOLE:
        assert (region["coverage"], holes, report["n_cells"]) == (1.0, 0, PLANTED)
    else:
        assert holes > 0, answer
