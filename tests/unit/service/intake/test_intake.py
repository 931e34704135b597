import asyncio
import os
import sys
import threading

import pytest

from service.intake.intake import BEHIND_THE_LOOP, Intake
from service.intake.limits import IntakeLimits
from service.layout import DataRoot


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_what_writes_stands_behind_what_answers(tmp_path):
    intake = Intake(DataRoot(tmp_path), IntakeLimits(max_slide_bytes=1, min_free_bytes=0))
    before = priority()
    try:
        assert asyncio.run(intake.run(priority)) == min(19, before + BEHIND_THE_LOOP)
        assert priority() == before
    finally:
        intake.close()
