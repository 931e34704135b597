"""A service's life: first start, ctrl-C in the middle of a slide, start, kill -9, start."""

import re
import signal
import sqlite3
from dataclasses import dataclass, field

import pytest

from tests.running_service import RunningService
from tests.supervised import wait_until_dead

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEY = re.compile(r"shown only this once: (smsc_\S+)")


@dataclass
class Life:
    """What was seen of it."""

    keys: list[list[str]] = field(default_factory=list)
    exit_code: int | None = None
    interrupted: dict = field(default_factory=dict)
    after_restart: dict = field(default_factory=dict)
    after_kill: dict = field(default_factory=dict)
    partial: list = field(default_factory=list)


@pytest.fixture(scope="module")
def life(tmp_path_factory, demo_slide):
    data = tmp_path_factory.mktemp("service") / "data"
    life = Life()
    service = RunningService(data, bootstrap_key=None)

    def keys_printed():
        printed = service.log.read_text()
        service.log.write_text("")
        return KEY.findall(printed)

    service.start()
    life.keys.append(keys_printed())
    service.client.headers["Authorization"] = f"Bearer {life.keys[0][0]}"
    scan_id = service.submit(demo_slide, region="all")["scan_id"]
    service.wait(lambda: bool(service.pids("slide")), "working")
    pids = service.family()
    life.exit_code = service.stop()
    for pid in pids:
        wait_until_dead(pid)
    with sqlite3.connect(data / "smearscan.db") as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM scans WHERE id = ?", (scan_id,)).fetchone()
        life.interrupted = dict(row)
    life.partial = list((data / "uploads").iterdir())

    service.start()
    life.after_restart = service.await_end(scan_id)
    life.keys.append(keys_printed())
    pids = service.family()
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    for pid in pids:
        wait_until_dead(pid)

    service.start()
    life.keys.append(keys_printed())
    life.after_kill = service.scan(scan_id)
    service.stop()
    service.client.close()
    return life


def test_the_first_key_is_shown_once(life):
    first, *others = life.keys
    assert len(first) == 1
    assert others == [[], []]


def test_ctrl_c_ends_everything_in_order(life):
    assert life.exit_code == 0


def test_a_slide_in_work_goes_back_to_the_queue_without_having_failed(life):
    assert life.interrupted["state"] == "queued"
    assert (life.interrupted["attempt"], life.interrupted["tries"]) == (2, 0)
    assert life.interrupted["worker"] is None
    assert life.partial == []


def test_it_is_scanned_after_the_next_start(life):
    assert (life.after_restart["state"], life.after_restart["tries"]) == ("succeeded", 0)


def test_a_killed_service_starts_again_with_everything_it_had(life):
    assert life.after_kill == life.after_restart
