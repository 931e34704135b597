"""Slides that take for ever: the process that reads one is ended, by itself or by its worker."""

import os
import signal

import pytest

from tests.integration.service.conftest import variant
from tests.running_service import RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 6


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("service") / "data"
    settings = {"timeout_base_s": LIMIT_S, "timeout_per_gib_s": 0, "max_attempts": 2}
    with RunningService(data, **settings) as service:
        yield service


def lines(service, scan_id, event):
    return [
        line for line in service.log.read_text().splitlines() if scan_id in line and event in line
    ]


def test_a_decoder_that_hangs_is_killed_and_the_slide_tried_again(service, demo_slide):
    """A stopped process stands for a decoder that does not return: no alarm reaches it."""
    scan_id = service.submit(variant(demo_slide, 1), region="all")["scan_id"]
    for tries in range(2):
        service.wait(
            lambda tries=tries: (
                service.scan(scan_id)["tries"] == tries
                and service.scan(scan_id)["state"] == "running"
            ),
            f"at work after {tries} tries",
        )
        (pid,) = service.pids("slide")
        os.kill(pid, signal.SIGSTOP)
        service.wait(lambda pid=pid: pid not in service.pids("slide"), "killed", 60)
    ended = service.await_end(scan_id)
    assert (ended["state"], ended["tries"]) == ("failed", 2)
    assert ended["failure"]["code"] == "timeout"
    assert f"{LIMIT_S} s" in ended["failure"]["message"]
    assert len(lines(service, scan_id, "slide process died")) == 2


def test_a_slide_that_takes_too_long_ends_itself(service, demo_slide):
    """A model process that does not answer has the slide process wait in a loop of ours."""
    (model,) = service.pids("model")
    os.kill(model, signal.SIGSTOP)
    try:
        scan_id = service.submit(variant(demo_slide, 2))["scan_id"]
        ended = service.await_end(scan_id)
    finally:
        os.kill(model, signal.SIGCONT)
    assert (ended["state"], ended["tries"]) == ("failed", 2)
    assert ended["failure"]["code"] == "timeout"
    assert lines(service, scan_id, "slide process died") == []
    assert len(lines(service, scan_id, "attempt failed")) == 2
