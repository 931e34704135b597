"""Real children, killed and stopped in every way a day brings."""

import os
import signal
import sys

import pytest

from tests.supervised import Supervised, is_alive, wait_until_dead

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="children are tied by prctl(2)"),
]
SLEEP = ["sleep", "600"]


def deaf(ready_file) -> list[str]:
    """A process that SIGTERM does not end; it makes the file once that is so."""
    code = f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(ready_file)!r}).touch()
time.sleep(600)
"""
    return [sys.executable, "-c", code]


def test_a_child_that_exits_is_started_again_with_growing_waits():
    with Supervised({"name": "a", "argv": ["sh", "-c", "exit 3"]}) as service:
        deaths = [service.see("died", "a") for _ in range(3)]
        assert {death["how"] for death in deaths} == {"exit code 3"}
        assert [death["restart_in_s"] for death in deaths] == [0.2, 0.4, 0.8]


def test_a_killed_child_is_started_again_and_its_signal_named():
    with Supervised({"name": "a", "argv": SLEEP}) as service:
        first = service.pid_of("a")
        os.kill(first, signal.SIGKILL)
        assert service.see("died", "a")["how"] == "signal SIGKILL (out of memory?)"
        assert is_alive(service.pid_of("a"))


def test_a_command_that_does_not_exist_is_a_death_like_others():
    with Supervised({"name": "a", "argv": ["no-such-command"]}) as service:
        assert service.see("died", "a")["how"] == "exit code 127"
        assert service.stop() == 0


def test_the_death_of_one_child_leaves_the_others_alone():
    with Supervised({"name": "a", "argv": SLEEP}, {"name": "b", "argv": SLEEP}) as service:
        a, b = service.pid_of("a"), service.pid_of("b")
        os.kill(a, signal.SIGKILL)
        service.see("started", "a")
        assert is_alive(b)


def test_children_stop_in_their_order_each_after_the_last_of_those_before():
    children = [
        {"name": "valkey", "argv": SLEEP, "stop_order": 9},
        {"name": "rq-1", "argv": SLEEP, "stop_order": 1},
        {"name": "rq-2", "argv": SLEEP, "stop_order": 1},
        {"name": "api", "argv": SLEEP, "stop_order": 0},
    ]
    with Supervised(*children) as service:
        service.see("started", "api")
        assert service.stop() == 0
        stopped = [name for event, name in service.said() if event == "stopped"]
        assert (stopped[0], set(stopped[1:3]), stopped[3]) == ("api", {"rq-1", "rq-2"}, "valkey")
        events = [event for event, _ in service.said() if event in ("stopping", "stopped")]
        assert events == [
            "stopping",
            "stopped",
            "stopping",
            *2 * ["stopped"],
            "stopping",
            "stopped",
        ]


def test_a_child_may_use_its_grace_to_finish(tmp_path):
    file = tmp_path / "listening"
    work = f"trap 'sleep 0.5; exit 7' TERM; touch {file}; while :; do sleep 0.05; done"
    slow = {"name": "rq", "argv": ["sh", "-c", work], "ready_file": str(file), "grace_s": 50}
    with Supervised(slow, {"name": "last", "argv": SLEEP, "stop_order": 1}) as service:
        service.see("started", "last")
        assert service.stop() == 0
        assert [line["how"] for line in service.lines if "how" in line] == [
            "exit code 7",
            "signal SIGTERM",
        ]


def test_a_child_that_does_not_finish_is_killed(tmp_path):
    file = tmp_path / "deaf"
    child = {"name": "a", "argv": deaf(file), "ready_file": str(file), "grace_s": 0.3}
    with Supervised(child, {"name": "b", "argv": SLEEP}) as service:
        pid = service.pid_of("a")
        service.see("started", "b")
        assert service.stop() == 0
        assert ("killed", "a") in service.said()
        assert not is_alive(pid)


def test_ctrl_c_reaches_the_supervisor_alone():
    with Supervised({"name": "a", "argv": SLEEP}) as service:
        service.see("started", "a")
        os.killpg(service.process.pid, signal.SIGINT)  # as a terminal does
        assert service.wait() == 0
        assert [line["how"] for line in service.lines if "how" in line] == ["signal SIGTERM"]


def test_a_second_ctrl_c_kills_at_once(tmp_path):
    file = tmp_path / "deaf"
    children = [
        {"name": "a", "argv": deaf(file), "ready_file": str(file), "grace_s": 600},
        {"name": "b", "argv": SLEEP, "stop_order": 1},
    ]
    with Supervised(*children) as service:
        pids = [service.pid_of("a"), service.pid_of("b")]
        service.process.send_signal(signal.SIGINT)
        service.see("stopping")
        assert service.stop(signal.SIGINT) == 130
        assert not any(map(is_alive, pids))


def test_a_child_that_waits_to_be_restarted_does_not_hold_up_the_stop():
    with Supervised({"name": "a", "argv": ["sh", "-c", "exit 1"]}) as service:
        for _ in range(4):
            service.see("died", "a")
        assert service.stop() == 0


def test_children_do_not_outlive_a_killed_supervisor(tmp_path):
    file = tmp_path / "deaf"
    children = [
        {"name": "a", "argv": SLEEP},
        {"name": "b", "argv": deaf(file), "ready_file": str(file)},
        {"name": "c", "argv": SLEEP},
    ]
    with Supervised(*children) as service:
        pids = [service.pid_of(name) for name in "abc"]
        assert all(map(is_alive, pids))
        service.process.kill()
        for pid in pids:
            wait_until_dead(pid)


def test_what_a_killed_child_leaves_behind_is_killed(tmp_path):
    file = tmp_path / "pid"
    forks = f"setsid sleep 600 & echo $! > {file}.tmp; mv {file}.tmp {file}; wait"
    child = {"name": "rq", "argv": ["sh", "-c", forks], "ready_file": str(file)}
    with Supervised(child, {"name": "b", "argv": SLEEP}) as service:
        pid = service.pid_of("rq")
        service.see("started", "b")
        grandchild = int(file.read_text())
        os.kill(pid, signal.SIGKILL)
        assert service.see("killed an orphan")["orphan_pid"] == grandchild
        wait_until_dead(grandchild)


def test_nothing_outlives_an_orderly_stop(tmp_path):
    file = tmp_path / "pid"
    forks = f"setsid sleep 600 & echo $! > {file}.tmp; mv {file}.tmp {file}; wait"
    child = {"name": "rq", "argv": ["sh", "-c", forks], "ready_file": str(file)}
    with Supervised(child, {"name": "b", "argv": SLEEP}) as service:
        service.see("started", "b")
        grandchild = int(file.read_text())
        assert is_alive(grandchild)
        assert service.stop() == 0
        assert not is_alive(grandchild)


def test_children_further_down_start_once_the_one_before_is_ready(tmp_path):
    file = tmp_path / "ready"
    first = {"name": "a", "argv": ["sh", "-c", f"sleep 0.3; touch {file}; sleep 600"]}
    with Supervised({**first, "ready_file": str(file)}, {"name": "b", "argv": SLEEP}) as service:
        service.see("started", "b")
        assert file.exists()


def test_a_child_that_never_gets_ready_ends_the_start(tmp_path):
    first = {"name": "a", "argv": SLEEP, "ready_file": str(tmp_path / "never")}
    children = [{**first, "ready_timeout_s": 0.3}, {"name": "b", "argv": SLEEP}]
    with Supervised(*children) as service:
        pid = service.pid_of("a")
        assert service.wait() == 1
        assert "a was not ready after 0.3 s" in service.lines[-1]["event"]
        assert ("started", "b") not in service.said()
        assert not is_alive(pid)


def test_a_stop_while_a_child_gets_ready_is_obeyed(tmp_path):
    child = {"name": "a", "argv": SLEEP, "ready_file": str(tmp_path / "never")}
    with Supervised({**child, "ready_timeout_s": 600}) as service:
        service.see("started", "a")
        assert service.stop() == 0
