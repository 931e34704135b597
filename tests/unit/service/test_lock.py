import subprocess
import sys

import pytest

from service.layout import DataRoot
from service.lock import DataDirectoryInUse, own

HOLD = """
import pathlib, subprocess, sys, time
from service.layout import DataRoot
from service.lock import own
with own(DataRoot(pathlib.Path(sys.argv[1]))):
    child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, close_fds=False)
    print(child.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def data(tmp_path) -> DataRoot:
    return DataRoot(tmp_path)


@pytest.fixture
def holder(data):
    """Another process that owns the directory, and has a child."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        child = process.stdout.readline().strip()
        yield process
        process.kill()
        subprocess.run(["kill", child], check=True)


def test_a_directory_that_is_owned_is_refused_with_who_and_what_to_do(data, holder):
    whose = f"process {holder.pid} on .*: stop that one"
    with pytest.raises(DataDirectoryInUse, match=whose), own(data):
        pass


def test_the_file_of_a_killed_owner_does_not_count_even_if_its_child_lives(data, holder):
    holder.kill()
    holder.wait()
    assert str(holder.pid) in data.lock.read_text()
    with own(data):
        assert str(holder.pid) not in data.lock.read_text()


def test_a_directory_is_free_again_after_the_block(data):
    for _ in range(2):
        with own(data), pytest.raises(DataDirectoryInUse), own(data):
            pass


def test_only_the_services_user_may_read_the_lock(data):
    with own(data):
        assert data.lock.stat().st_mode & 0o777 == 0o600
