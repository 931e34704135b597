"""Every process is killed with SIGKILL at random moments of twenty scans; nothing is lost."""

import random
import time

import pytest

from tests.integration.service.conftest import variant
from tests.running_service import RunningService
from tests.servers import create_database

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCANS = 20
PARTS = ("slide", "rq", "model", "valkey", "api", "reconciler")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request, tmp_path_factory):
    settings = {"workers": 2, "max_attempts": 20}
    if request.param == "postgresql":
        settings["database_url"] = create_database(request.getfixturevalue("postgresql"))
    with RunningService(tmp_path_factory.mktemp("survival") / "data", **settings) as service:
        yield service


def places(cells):
    """What a scan found, whatever it is called."""
    return [
        (cell["geometry"], cell["properties"].get("classification"))
        for cell in sorted(cells, key=lambda c: c["properties"].get("id", 0))
    ]


def test_twenty_scans_survive_kills_of_every_process(service, demo_slide):
    dice = random.Random(20)
    undisturbed = service.submit(demo_slide)["scan_id"]
    assert service.await_end(undisturbed)["state"] == "succeeded"
    expected = places(service.cells(undisturbed))
    assert expected

    names = [service.submit(variant(demo_slide, n))["scan_id"] for n in range(SCANS)]
    assert len(set(names)) == SCANS
    kills = list(PARTS) * 2
    dice.shuffle(kills)
    for part in kills:
        service.wait(lambda: bool(service.pids("slide")) or _over(service, names), "working")
        if _over(service, names):
            break
        time.sleep(dice.uniform(0.0, 0.6))
        service.kill(part)
        service.wait(lambda part=part: part == "slide" or bool(service.pids(part)), f"{part} back")

    ended = [service.await_end(name, within_s=300) for name in names]
    assert [scan["state"] for scan in ended] == ["succeeded"] * SCANS
    for name in names:
        assert places(service.cells(name)) == expected
    results = service.data / "results"
    for name in names:  # of all attempts, one left results
        assert len(list((results / name).iterdir())) == 1


def _over(service, names):
    return all(service.scan(name)["state"] == "succeeded" for name in names)
