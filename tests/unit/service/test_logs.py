import json
import os
import pty
import re
import subprocess
import sys

import pytest

from service.logs import HIDDEN, configure_logs, hide_secrets

SETUP = """
import logging, os, warnings, structlog
from service.logs import configure_logs
"""


def lines_of(code: str, level: str = "INFO", returncode: int = 0) -> list[dict[str, object]]:
    """What a process that runs the code logs; every line must be JSON."""
    setup = f"{SETUP}configure_logs('api', {level!r})\nlog = structlog.stdlib.get_logger('ours')\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == returncode, done.stderr
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_says_when_what_and_who():
    (line,) = lines_of("log.info('scan queued', n=3)")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("time"))
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "info",
        "event": "scan queued",
        "process": "api",
        "logger": "ours",
        "n": 3,
    }


def test_bound_scan_and_request_stand_in_every_line_of_their_block():
    first, second, third = lines_of("""
with structlog.contextvars.bound_contextvars(scan_id='s1', request_id='r1'):
    log.info('a')
    logging.getLogger('rq.worker').info('b')
log.info('c')
""")
    assert (first["scan_id"], first["request_id"]) == ("s1", "r1")
    assert (second["scan_id"], second["event"]) == ("s1", "b")
    assert "scan_id" not in third


def test_lines_of_libraries_look_like_ours():
    (line,) = lines_of("logging.getLogger('uvicorn.access').info('%s %d', 'GET /', 200)")
    assert (line["event"], line["logger"], line["process"]) == (
        "GET / 200",
        "uvicorn.access",
        "api",
    )
    assert set(line) == {"time", "level", "event", "logger", "process", "pid"}


def test_uvicorn_and_rq_add_no_handlers_of_their_own():
    lines = lines_of("""
import uvicorn
uvicorn.Config('x:y', log_config=None)
from rq.logutils import setup_loghandlers
setup_loghandlers('INFO')
for name in ('uvicorn.error', 'rq.worker'):
    logging.getLogger(name).info(name)
""")
    assert [line["event"] for line in lines] == ["uvicorn.error", "rq.worker"]


def test_a_forked_process_logs_its_own_pid():
    parent, child = lines_of("""
log.info('parent', expected=os.getpid())
if os.fork() == 0:
    log.info('child', expected=os.getpid())
    os._exit(0)
os.wait()
""")
    assert parent["pid"] == parent["expected"] != child["pid"] == child["expected"]


@pytest.mark.parametrize(("level", "events"), [("INFO", ["a", "b"]), ("WARNING", ["b"])])
def test_the_level_is_the_least_severe_that_is_written(level, events):
    code = "log.debug('x'); log.info('a'); logging.warning('b')"
    assert [line["event"] for line in lines_of(code, level)] == events


def test_an_unknown_level_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'LOUD' is none of .*INFO"):
        configure_logs("api", "LOUD")


def test_an_exception_is_one_line_with_its_traceback():
    (line,) = lines_of("try:\n 1/0\nexcept ZeroDivisionError:\n log.exception('failed')")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_an_uncaught_exception_and_a_warning_are_lines_too():
    warning, error = lines_of("warnings.warn('old')\nraise RuntimeError('gone')", returncode=1)
    assert "UserWarning: old" in warning["event"]
    assert (error["level"], error["event"]) == ("critical", "uncaught RuntimeError")


@pytest.mark.parametrize(
    "code",
    [
        "log.info('x', password='hunter2')",
        "log.info('x', api_key='hunter2')",
        "log.info('x', webhook_secret='hunter2')",
        "log.info('x', headers={'Authorization': 'hunter2'})",
        "log.info('x', headers=[(b'authorization', b'Bearer hunter2')])",
        "log.info('Authorization: Bearer hunter2')",
        "log.info('x', header='Bearer hunter2')",
        "log.info('GET /v1/scans?api_key=hunter2&limit=3')",
        "logging.info('connect to %s', 'postgresql+psycopg://smearscan:hunter2@db/smearscan')",
        "log.info('x', url='redis://:hunter2@redis:6379/0')",
        "try:\n raise OSError('redis://:hunter2@redis')\nexcept OSError:\n log.exception('x')",
        "from service.settings import ServiceSettings\n"
        "log.info('x', settings=ServiceSettings(bootstrap_key='hunter2'))",
    ],
)
def test_secrets_are_not_logged(code):
    (line,) = lines_of(code)
    assert "hunter2" not in json.dumps(line)
    assert "*" in json.dumps(line)


@pytest.mark.parametrize(
    "text", ["unix:///run/a.sock", "s3://bucket/key@2", "12:30 by a@b", "tokens 3", "basically"]
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert hide_secrets(text) == text


def test_a_header_pair_is_hidden_by_its_name():
    assert hide_secrets([("Cookie", "a=b"), ("Accept", "*/*")]) == [
        ["Cookie", HIDDEN],
        ["Accept", "*/*"],
    ]


def test_a_person_at_a_terminal_reads_plain_lines_without_secrets():
    pid, terminal = pty.fork()
    if pid == 0:
        code = SETUP + "configure_logs('api')\nlogging.warning('disk nearly full, token=hunter2')"
        os.execv(sys.executable, [sys.executable, "-c", code])
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(terminal)
    os.waitpid(pid, 0)
    assert b"disk nearly full" in seen
    assert b"hunter2" not in seen
    assert not seen.lstrip().startswith(b"{")
