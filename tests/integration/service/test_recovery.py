"""After a kill of any process, work goes on within a minute."""

import pytest

from tests.integration.service.conftest import variant
from tests.integration.service.test_survival import PARTS
from tests.running_service import RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RECOVERY_S = 60
"""What is promised; without other work on the machine it is a few seconds."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("recovery") / "data"
    with RunningService(data, workers=2, max_attempts=20) as service:
        yield service


@pytest.mark.parametrize("part", PARTS)
def test_work_goes_on_within_a_minute_of_a_kill(service, demo_slide, part):
    scan_id = service.submit(variant(demo_slide, 100 + PARTS.index(part)))["scan_id"]
    service.wait(lambda: bool(service.pids("slide")), "working")
    service.kill(part)
    service.wait(lambda: service.scan(scan_id)["state"] == "succeeded", "recovered", RECOVERY_S)
