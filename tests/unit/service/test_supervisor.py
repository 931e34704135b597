import os
import signal

import pytest

from service.supervisor import LONGEST_WAIT_S, SETTLED_S, how_it_died, next_wait


def test_waits_double_up_to_the_longest():
    waits = [0.0]
    for _ in range(8):
        waits.append(next_wait(waits[-1], lived_s=0))
    assert waits[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert waits[-1] == LONGEST_WAIT_S


@pytest.mark.parametrize(("lived_s", "wait_s"), [(SETTLED_S, 0.2), (SETTLED_S - 0.1, 10)])
def test_a_long_life_forgives_earlier_deaths(lived_s, wait_s):
    assert next_wait(LONGEST_WAIT_S, lived_s) == wait_s


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda: os._exit(0), "exit code 0"),
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "signal SIGTERM"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL (out of memory?)"),
    ],
)
def test_a_death_is_put_into_words(how, words):
    pid = os.fork()
    if pid == 0:
        how()
    assert how_it_died(os.waitpid(pid, 0)[1]) == words
