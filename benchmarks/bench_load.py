"""A whole service under load: `python -m benchmarks.bench_load [--uploads 50] [--mb 200]`.

`--uploads` slides of `--mb` MiB arrive at the same time while `--polls` statuses a second are asked
for, from one machine's CPUs for everything: senders, poller, api, queue, workers. The slides begin
like TIFFs and hold noise, so the workers fail each of them as soon as they open it.
"""

import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.load_clients import Outcome, poll_status, upload_all
from benchmarks.record import describe_run, save_result
from benchmarks.slides import CACHE
from tests.running_service import KEY, RunningService

MIB: Final = 1 << 20
CONNECTIONS: Final = 100
"""That polls are spread over; as many may be open at a time."""
SETTLE_S: Final = 3.0
"""Polls are asked this long before the uploads begin, s."""
ALLOWED: Final = frozenset({200, 202, 429, 503})


def resident_mb(pids: list[int]) -> float:
    """Memory of processes, MB."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                kib += int(line.split()[1])
    return kib / 1024


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of living processes and of their children that ended, s."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def api_family(service: RunningService) -> list[int]:
    """The api's processes, all of them."""
    first = service.pids("api")
    return [*first, *(pid for parent in first for pid in service.pids_below(parent, ""))]


class Watch:
    """How much memory and CPU time the api takes while something else happens."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self._api = api_family(service)
        self._before_mb = self._most_mb = resident_mb(self._api)
        self._api_s = cpu_seconds(self._api)
        self._all_s = cpu_seconds(service.family())

    def look(self) -> None:
        """Look at the memory now."""
        self._most_mb = max(self._most_mb, resident_mb(self._api))

    @property
    def grown_mb(self) -> float:
        """The most that was seen over what there was at first."""
        return self._most_mb - self._before_mb

    def spent_s(self) -> dict[str, float]:
        """CPU time since the beginning, by part."""
        api_s = cpu_seconds(self._api) - self._api_s
        all_s = cpu_seconds(self._service.family()) - self._all_s
        return {"api": round(api_s, 1), "rest_of_service": round(all_s - api_s, 1)}


def summarise(polled: Outcome, began: float, ended: float) -> dict[str, Any]:
    """Figures of the polls that were due, and of those answered, while slides were uploaded."""
    due = [(at, took) for at, took in polled.polls if began <= at < ended]
    answered = sum(1 for at, took in polled.polls if began <= at + took < ended)
    ms = 1000 * np.array([took for _, took in due])
    return {
        "poll_statuses": dict(polled.statuses),
        "polls_per_s": round(answered / (ended - began), 1),
        "status_p50_ms": round(float(np.percentile(ms, 50)), 1),
        "status_p95_ms": round(float(np.percentile(ms, 95)), 1),
        "status_max_ms": round(float(ms.max()), 1),
    }


@click.command()
@click.option("--uploads", default=50, show_default=True)
@click.option("--mb", default=200, show_default=True, help="Of each upload, MiB.")
@click.option("--polls", default=500.0, show_default=True, help="Statuses a second, in all.")
@click.option("--api-processes", default=1, show_default=True)
def main(uploads: int, mb: int, polls: float, api_processes: int) -> None:
    """Print and store what was answered, how fast, and how the api's memory grew."""
    run = describe_run(["python", "-m", "benchmarks.bench_load", *sys.argv[1:]])
    context = multiprocessing.get_context("fork")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as folder,
        RunningService(Path(folder) / "data", api_processes=api_processes) as service,
    ):
        address = ("127.0.0.1", service.port)
        rest = Path(folder) / "rest"
        rest.write_bytes(secrets.token_bytes((mb - 1) * MIB))
        slides = [b"II*\0" + secrets.token_bytes(MIB - 4) for _ in range(uploads)]
        scan_id = service.submit(b"II*\0" + secrets.token_bytes(MIB))["scan_id"]
        service.await_end(scan_id)
        stop, polled, sent = context.Event(), context.Queue(), context.Queue()
        poller = context.Process(
            target=poll_status, args=(address, scan_id, KEY, polls, CONNECTIONS, stop, polled)
        )
        sender = context.Process(target=upload_all, args=(address, slides, rest, KEY, sent))
        poller.start()
        time.sleep(SETTLE_S)
        watch = Watch(service)
        began = time.monotonic()
        sender.start()
        while sent.empty() and sender.is_alive():
            watch.look()
            time.sleep(0.5)
        uploaded: Outcome = sent.get(timeout=60)
        ended = time.monotonic()
        spent_s = watch.spent_s()
        stop.set()
        polls_done: Outcome = polled.get(timeout=60)
        for process in (poller, sender):
            process.join()
    figures = {
        "uploads_s": round(ended - began, 1),
        "mb_per_s": round(uploads * mb / (ended - began), 1),
        "upload_statuses": dict(uploaded.statuses),
        **summarise(polls_done, began, ended),
        "api_memory_growth_mb": round(watch.grown_mb, 1),
        "refused_without_retry_after": polls_done.without_wait + uploaded.without_wait,
        "cpu_s": {
            **spent_s,
            "poller": round(polls_done.cpu_s, 1),
            "sender": round(uploaded.cpu_s, 1),
        },
    }
    result = {
        "run": run,
        "work": {"uploads": uploads, "mb": mb, "polls_per_s": polls, "api": api_processes},
        "measures": {},
        "yardsticks": {},
        "figures": figures,
    }
    print(json.dumps(figures, indent=2))
    print(save_result(f"load-{uploads}x{mb}mb", result))
    wrong = (set(polls_done.statuses) | set(uploaded.statuses)) - ALLOWED
    if wrong:
        raise SystemExit(f"answers that are not documented for this: {sorted(wrong)}")


if __name__ == "__main__":
    main()
