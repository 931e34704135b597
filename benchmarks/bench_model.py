"""What it costs to have the networks in another process: the same patches and fields, paired.

Wall clocks, and the CPU time of all processes involved: that is what a busy machine leaves alone.

python -m benchmarks.bench_model [--rounds N]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, Measured, run_rounds
from models.golden import golden_patches
from service.layout import DataRoot
from worker.inference import LocalPredictor
from worker.model.client import RemotePredictor, ping
from worker.predictor import Predictor

PATCHES = 32
"""Of one request, as the pipeline sends them."""

FIELD_PX = 768
"""Width of a field: a tile's core and margins, as detection sends them one at a time."""


@contextmanager
def serve() -> Iterator[tuple[Path, int]]:
    """A model process with the default settings; yields its address and its id."""
    with tempfile.TemporaryDirectory() as folder:
        address = DataRoot(Path(folder).resolve()).model_socket
        environment = os.environ | {"SMEARSCAN_DATA": folder}
        command = [sys.executable, "-m", "worker.model.process"]
        process = subprocess.Popen(command, env=environment)
        try:
            while not ping(address):
                assert process.poll() is None
                time.sleep(0.1)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait()


def read_cpu_s(pid: int) -> float:
    """CPU time of another process's threads, s: its CPU clock (Linux, clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def cases_of(
    name: str, predictor: Predictor, cpu_clock: Callable[[], float] = time.process_time
) -> list[Case]:
    """Classification of one request's patches, and detection on one field."""
    patches = np.concatenate([golden_patches()] * (PATCHES // 4))
    field = np.random.default_rng(0).integers(180, 250, (1, FIELD_PX, FIELD_PX, 3), np.uint8)
    glass, red_cell = np.full(3, 240.0), np.array([0.2, 0.4, 0.3])

    def case(what: str, work: Callable[[], object]) -> Case:
        return Case(f"{what} {name}", lambda: nullcontext(work), cpu_clock)

    return [
        case("classify", lambda: predictor.classifier.predict(patches)),
        case("detect", lambda: predictor.detector.detect(field, glass, red_cell)),
    ]


def compare(measured: dict[str, Measured], what: str) -> str:
    """Median times, and the median over rounds of remote over local."""
    local, remote = measured[f"{what} local"], measured[f"{what} remote"]
    parts = [
        f"{clock} local {1e3 * statistics.median(one):.1f} ms"
        f" remote {1e3 * statistics.median(other):.1f} ms"
        f" ratio {statistics.median(r / o for r, o in zip(other, one, strict=True)):.4f}"
        for clock, one, other in (
            ("wall", local.wall_s, remote.wall_s),
            ("cpu", local.cpu_s, remote.cpu_s),
        )
    ]
    return f"{what}: {'; '.join(parts)}"


def measure_round_trip(predictor: RemotePredictor, rounds: int) -> str:
    """CPU time of the client alone: the copy into the shared memory, and the messages."""
    patches = np.concatenate([golden_patches()] * (PATCHES // 4))
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        predictor.classifier.predict(patches)
        spent.append(time.process_time() - before)
    return f"client's CPU time: {1e3 * statistics.median(spent):.2f} ms a request"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with serve() as (address, pid), RemotePredictor(address) as remote:
        cases = cases_of("local", LocalPredictor.load())
        cases += cases_of("remote", remote, lambda: time.process_time() + read_cpu_s(pid))
        measured = run_rounds(cases, rounds)
        for what in ("classify", "detect"):
            print(compare(measured, what))
        print(measure_round_trip(remote, rounds))


if __name__ == "__main__":
    main()
