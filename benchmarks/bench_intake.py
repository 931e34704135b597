"""Uploads through HTTP against writing and hashing the same bytes without any of it.

python -m benchmarks.bench_intake [--mb 200] [--rounds 3] [--parallel 50]

One slide at a time first, beside the raw loop; then `--parallel` at once, while the same process is
asked for a status again and again. The server is the one of the integration tests; sender, server
and status client share this machine's CPUs.
"""

import argparse
import hashlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Case, run_rounds
from benchmarks.record import as_measures, describe_run, save_result
from benchmarks.slides import CACHE

MIB: Final = 1 << 20
SERVER: Final = Path(__file__).parents[1] / "tests" / "integration" / "intake" / "server.py"
HEAD: Final = b'--B\r\nContent-Disposition: form-data; name="slide"; filename="a.svs"\r\n\r\n'
TAIL: Final = b"\r\n--B--\r\n"


@contextmanager
def running_server(data: Path) -> Iterator[tuple[int, int]]:
    """A server's port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    limits = json.dumps({"max_slide_bytes": 1 << 40, "min_free_bytes": 0})
    with subprocess.Popen([sys.executable, str(SERVER), str(data), str(port), limits]) as process:
        try:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if time.monotonic() > deadline:
                    raise SystemExit("the server does not answer")
                time.sleep(0.1)
            yield port, process.pid
        finally:
            process.terminate()


def send_slide(port: int, mb: int) -> None:
    """Upload `mb` MiB that no slide had before."""
    block = b"II*\0" + secrets.token_bytes(MIB - 4)
    length = len(HEAD) + mb * MIB + len(TAIL)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /slides HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n"
            b"Content-Length: %d\r\n\r\n" % length + HEAD
        )
        for _ in range(mb):
            connection.sendall(block)
        connection.sendall(TAIL)
        answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"refused: {answer.decode()}")


def write_raw(folder: Path, mb: int) -> None:
    """Write, hash and sync `mb` MiB."""
    block = b"II*\0" + secrets.token_bytes(MIB - 4)
    digest = hashlib.sha256()
    with (folder / secrets.token_hex(8)).open("wb", buffering=0) as stream:
        for _ in range(mb):
            digest.update(block)
            stream.write(block)
        os.fsync(stream.fileno())


def poll_while(port: int, pid: int, busy: Callable[[], bool]) -> tuple[list[float], list[int]]:
    """Seconds that each status took, and the server's resident bytes at each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    took, resident = [], []
    while busy():
        start = time.perf_counter()
        connection.request("GET", "/status")
        connection.getresponse().read()
        took.append(time.perf_counter() - start)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGE_SIZE"))
        time.sleep(0.01)
    return took, resident


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=200, help="MiB of a slide")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=50, help="uploads at once")
    options = parser.parse_args()
    mb, parallel = options.mb, options.parallel
    run = describe_run([Path(sys.argv[0]).name, *sys.argv[1:]])
    CACHE.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as folder,
        running_server(Path(folder) / "data") as (port, pid),
    ):

        @contextmanager
        def uploading() -> Iterator[Callable[[], object]]:
            yield lambda: send_slide(port, mb)

        @contextmanager
        def writing() -> Iterator[Callable[[], object]]:
            yield lambda: write_raw(Path(folder), mb)

        measured = run_rounds([Case("upload", uploading), Case("raw", writing)], options.rounds)
        for name, times in measured.items():
            print(f"{name:8} {mb * MIB / 1e6 / min(times.wall_s):6.0f} MB/s, best of rounds")
        start = time.perf_counter()
        with ThreadPoolExecutor(parallel) as clients:
            sent = [clients.submit(send_slide, port, mb) for _ in range(parallel)]
            took, resident = poll_while(port, pid, lambda: not all(one.done() for one in sent))
            wall_s = time.perf_counter() - start
            for one in sent:
                one.result()
    took.sort()
    status: dict[str, Any] = {
        "polls": len(took),
        **{f"p{p}_ms": round(took[len(took) * p // 100] * 1e3, 1) for p in (50, 95, 99)},
        "max_ms": round(took[-1] * 1e3, 1),
        "memory_growth_mb": round((max(resident) - resident[0]) / 1e6),
        "mb_per_s": round(parallel * mb * MIB / 1e6 / wall_s),
    }
    print(f"{parallel} at once: {status}")
    result = {
        "run": run,
        "work": {"mb": mb, "parallel": parallel},
        "measures": as_measures(measured, ours="upload"),
        "details": status,
    }
    print(f"saved {save_result(f'intake-{mb}mb', result).name}")


if __name__ == "__main__":
    main()
