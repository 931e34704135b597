"""A whole service under load: `python -m benchmarks.bench_load [--uploads 50] [--mb 200]`.

`--uploads` slides of `--mb` MiB arrive at the same time while `--polls` statuses a second are asked
for, from one machine's CPUs for everything: senders, pollers, api, queue, workers. The slides begin
like TIFFs and hold noise, so the workers fail each of them as soon as they open it.
"""

import http.client
import json
import multiprocessing
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.record import describe_run, save_result
from benchmarks.slides import CACHE
from tests.running_service import KEY, RunningService

MIB: Final = 1 << 20
POLLERS: Final = 20
"""Connections that polls are spread over."""
ALLOWED: Final = frozenset({200, 202, 429, 503})
HEAD: Final = b'--B\r\nContent-Disposition: form-data; name="slide"; filename="a.svs"\r\n\r\n'
TAIL: Final = b"\r\n--B--\r\n"


@dataclass(slots=True)
class Outcome:
    """What was answered.

    Attributes:
        statuses: how often which; 0: the connection broke.
        seconds: of each status poll.
        without_wait: answers 429 or 503 without `Retry-After`.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    without_wait: int = 0


def upload(port: int, mb: int) -> Outcome:
    """Post one slide that no one had before, again after a 429 or 503."""
    outcome = Outcome()
    block = secrets.token_bytes(MIB)
    first = b"II*\0" + secrets.token_bytes(MIB - 4)
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        try:
            connection.putrequest("POST", "/v1/scans")
            connection.putheader("Authorization", f"Bearer {KEY}")
            connection.putheader("Content-Type", "multipart/form-data; boundary=B")
            connection.putheader("Content-Length", str(len(HEAD) + mb * MIB + len(TAIL)))
            connection.endheaders()
            connection.send(HEAD)
            connection.send(first)
            for _ in range(mb - 1):
                connection.send(block)
            connection.send(TAIL)
            answer = connection.getresponse()
            answer.read()
        except OSError:
            outcome.statuses[0] += 1
            return outcome
        finally:
            connection.close()
        outcome.statuses[answer.status] += 1
        wait = answer.getheader("Retry-After")
        if answer.status not in {429, 503}:
            return outcome
        if wait is None:
            outcome.without_wait += 1
            return outcome
        time.sleep(float(wait))


def upload_all(port: int, uploads: int, mb: int, results: Any) -> None:
    """All uploads at once, each in a thread; in a process of its own."""
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(upload(port, mb))) for _ in range(uploads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(outcomes)


def poll(port: int, scan_id: str, per_s: float, stop: Any, results: Any) -> None:
    """Ask for a status so often on one connection, in a process of its own."""
    lines = (
        f"GET /v1/scans/{scan_id} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {KEY}",
    )
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    outcome = Outcome()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    due = time.perf_counter()
    while not stop.is_set():
        due += 1 / per_s
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        connection.sendall(request)
        status, has_wait = _read_answer(stream)
        outcome.seconds.append(time.perf_counter() - began)
        outcome.statuses[status] += 1
        if status in {429, 503} and not has_wait:
            outcome.without_wait += 1
        due = max(due, time.perf_counter() - 1.0)  # after a stall no burst of more than a second
    results.put(outcome)


def _read_answer(stream: Any) -> tuple[int, bool]:
    """Status of an answer, and whether it says when to come again."""
    status = int(stream.readline().split()[1])
    length, has_wait = 0, False
    while (line := stream.readline().strip().lower()) != b"":
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
        has_wait = has_wait or name == b"retry-after"
    stream.read(length)
    return status, has_wait


def resident_mb(pids: list[int]) -> float:
    """Memory of processes, MB."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                kib += int(line.split()[1])
    return kib / 1024


def run_pollers(
    context: Any, port: int, scan_id: str, polls: float, stop: Any
) -> Iterator[tuple[Any, Any]]:
    """Started processes, each with the queue of its outcome."""
    for _ in range(POLLERS):
        results = context.Queue()
        arguments = (port, scan_id, polls / POLLERS, stop, results)
        process = context.Process(target=poll, args=arguments)
        process.start()
        yield process, results


@click.command()
@click.option("--uploads", default=50, show_default=True)
@click.option("--mb", default=200, show_default=True, help="Of each upload, MiB.")
@click.option("--polls", default=500.0, show_default=True, help="Statuses a second, in all.")
@click.option("--api-processes", default=1, show_default=True)
def main(uploads: int, mb: int, polls: float, api_processes: int) -> None:
    """Print and store what was answered, how fast, and how the api's memory grew."""
    context = multiprocessing.get_context("fork")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as folder,
        RunningService(Path(folder) / "data", api_processes=api_processes) as service,
    ):
        scan_id = service.submit(b"II*\0" + secrets.token_bytes(MIB))["scan_id"]
        service.await_end(scan_id)
        stop = context.Event()
        pollers = list(run_pollers(context, service.port, scan_id, polls, stop))
        time.sleep(3)
        before = resident_mb(service.pids("api"))
        most = before
        sent: Any = context.Queue()
        arguments = (service.port, uploads, mb, sent)
        sender = context.Process(target=upload_all, args=arguments)
        began = time.monotonic()
        sender.start()
        while sent.empty():
            most = max(most, resident_mb(service.pids("api")))
            time.sleep(0.5)
        uploaded: list[Outcome] = sent.get()
        took = time.monotonic() - began
        stop.set()
        polled: list[Outcome] = [results.get() for _, results in pollers]
        for process, _ in pollers:
            process.join()
        sender.join()
    statuses = sum((outcome.statuses for outcome in polled), Counter[int]())
    posts = sum((outcome.statuses for outcome in uploaded), Counter[int]())
    seconds = np.array([value for outcome in polled for value in outcome.seconds])
    result = {
        "run": describe_run(["python", "-m", "benchmarks.bench_load", *sys.argv[1:]]),
        "work": {"uploads": uploads, "mb": mb, "polls_per_s": polls, "api": api_processes},
        "measures": {},
        "yardsticks": {},
        "figures": {
            "uploads_s": round(took, 1),
            "mb_per_s": round(uploads * mb / took, 1),
            "upload_statuses": dict(posts),
            "poll_statuses": dict(statuses),
            "polls_per_s": round(len(seconds) / (took + 3), 1),
            "status_p50_ms": round(1000 * float(np.percentile(seconds, 50)), 1),
            "status_p95_ms": round(1000 * float(np.percentile(seconds, 95)), 1),
            "status_max_ms": round(1000 * float(seconds.max()), 1),
            "api_memory_growth_mb": round(most - before, 1),
            "refused_without_retry_after": sum(o.without_wait for o in (*polled, *uploaded)),
        },
    }
    print(json.dumps(result["figures"], indent=2))
    print(save_result(f"load-{uploads}x{mb}mb", result))
    wrong = (set(statuses) | set(posts)) - ALLOWED
    if wrong:
        raise SystemExit(f"answers that are not documented for this: {sorted(wrong)}")


if __name__ == "__main__":
    main()
