import os
import signal
import subprocess
import sys

import pytest

from service import leash
from tests.supervised import wait_until_dead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
LEASH = [sys.executable, "-I", "-S", leash.__file__]


def test_a_process_on_the_leash_becomes_the_command():
    with subprocess.Popen(
        [*LEASH, str(os.getpid()), "sh", "-c", "echo $$ $0", "a b"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.communicate()[0] == f"{process.pid} a b\n"
    assert process.returncode == 0


def test_a_process_whose_parent_was_gone_before_it_began_does_nothing(tmp_path):
    file = tmp_path / "done"
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = subprocess.run([*LEASH, str(gone.pid), "touch", file], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not file.exists()


def test_a_process_that_forks_can_tie_its_own_child():
    forks = """
import os, time
from service.leash import die_with
parent = os.getpid()
if (pid := os.fork()) == 0:
    die_with(parent)
    os.write(1, b"%d\\n" % os.getpid())
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", forks], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        process.kill()
        wait_until_dead(child)
