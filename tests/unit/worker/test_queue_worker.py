import faulthandler
import os
import signal

import pytest

from service.contract.failure import FailureCode
from worker.queue_worker import count_oom_kills, explain_death, parse_job_id


def wait_status(end) -> int:
    """How the system tells of a process that ended so."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()  # pytest's, which would tell of the signals below
        end()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed(number):
    return wait_status(lambda: os.kill(os.getpid(), number))


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGABRT", "SIGKILL"])
def test_a_signal_is_named(name):
    number = signal.Signals[name]
    failure = explain_death(killed(number), out_of_memory=False)
    assert failure.code is FailureCode.WORKER_LOST
    assert f"signal {int(number)} ({name})" in failure.message
    assert failure.retryable


def test_a_real_time_signal_has_a_number():
    failure = explain_death(killed(signal.SIGRTMIN + 1), out_of_memory=False)
    assert f"signal {signal.SIGRTMIN + 1} (SIGRTMIN+1)" in failure.message


@pytest.mark.parametrize(
    ("number", "out_of_memory", "code"),
    [
        (signal.SIGKILL, True, FailureCode.OUT_OF_MEMORY),
        (signal.SIGKILL, False, FailureCode.WORKER_LOST),
        (signal.SIGSEGV, True, FailureCode.WORKER_LOST),
    ],
)
def test_only_a_kill_while_memory_ran_out_is_out_of_memory(number, out_of_memory, code):
    assert explain_death(killed(number), out_of_memory=out_of_memory).code is code


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_code_is_told(code):
    failure = explain_death(wait_status(lambda: os._exit(code)), out_of_memory=False)
    assert f"exit code {code}" in failure.message


def test_what_nobody_knows_is_not_made_up():
    failure = explain_death(None, out_of_memory=True)
    assert failure.code is FailureCode.WORKER_LOST
    assert "did not tell" in failure.message


def test_a_job_is_named_after_its_scan_and_attempt():
    assert parse_job_id("0198c1d2-e3f4-12") == ("0198c1d2-e3f4", 12)


class TestKillsForMemory:
    def test_the_own_group_is_asked_first(self, tmp_path):
        cgroup, vmstat = tmp_path / "memory.events", tmp_path / "vmstat"
        cgroup.write_text("low 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 9\n")
        vmstat.write_text("nr_free_pages 5\noom_kill 7\n")
        assert count_oom_kills(cgroup, vmstat) == 2

    def test_the_machine_is_asked_where_the_group_tells_nothing(self, tmp_path):
        vmstat = tmp_path / "vmstat"
        vmstat.write_text("nr_free_pages 5\noom_kill 7\n")
        assert count_oom_kills(tmp_path / "missing", vmstat) == 7
        silent = tmp_path / "memory.events"
        silent.write_text("low 0\n")
        assert count_oom_kills(silent, vmstat) == 7

    def test_a_machine_that_tells_nothing_counts_none(self, tmp_path):
        assert count_oom_kills(tmp_path / "a", tmp_path / "b") == 0
