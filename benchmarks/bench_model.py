"""What it costs to have the networks in another process: the same patches and fields, paired.

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
from worker.model.client import RemotePredictor, fetch_stats, ping
from worker.predictor import Predictor

PATCHES = 32
"""Of one request, as the pipeline sends them."""

FIELD_PX = 768
"""Width of a field: a tile's core and margins, as detection sends them one at a time."""


@contextmanager
def serve() -> Iterator[Path]:
    """A model process with the default settings; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        address = DataRoot(Path(folder).resolve()).model_socket
        environment = os.environ | {"SMEARSCAN_DATA": folder}
        process = subprocess.Popen([sys.executable, "-m", "worker", "model"], env=environment)
        try:
            while not ping(address):
                assert process.poll() is None
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait()


def cases_of(name: str, predictor: Predictor) -> list[Case]:
    """Classification of one request's patches, and detection on one field."""
    patches = np.concatenate([golden_patches()] * (PATCHES // 4))
    field = np.random.default_rng(0).integers(180, 250, (1, FIELD_PX, FIELD_PX, 3), np.uint8)
    glass, red_cell = np.full(3, 240.0), np.array([0.2, 0.4, 0.3])

    def case(what: str, work: Callable[[], object]) -> Case:
        return Case(f"{what} {name}", lambda: nullcontext(work))

    return [
        case("classify", lambda: predictor.classifier.predict(patches)),
        case("detect", lambda: predictor.detector.detect(field, glass, red_cell)),
    ]


def compare(measured: dict[str, Measured], what: str) -> str:
    """Median times, and the median over rounds of remote over local."""
    local, remote = measured[f"{what} local"].wall_s, measured[f"{what} remote"].wall_s
    ratio = statistics.median(r / one for r, one in zip(remote, local, strict=True))
    return (
        f"{what:9} local {1e3 * statistics.median(local):8.1f} ms"
        f"  remote {1e3 * statistics.median(remote):8.1f} ms  median ratio {ratio:.4f}"
    )


def measure_overhead(address: Path, predictor: RemotePredictor, rounds: int) -> str:
    """Time a request spends outside the networks: wall time less what the process computed."""
    patches = np.concatenate([golden_patches()] * (PATCHES // 4))
    outside = []
    for _ in range(rounds):
        before = fetch_stats(address)
        start = time.perf_counter()
        predictor.classifier.predict(patches)
        wall = time.perf_counter() - start
        after = fetch_stats(address)
        assert before is not None and after is not None
        busy = after.operations["classify"].busy_s - before.operations["classify"].busy_s
        outside.append(wall - busy)
    middle = 1e3 * statistics.median(outside)
    return f"outside the networks: {middle:.2f} ms a request of {PATCHES} patches"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with serve() as address, RemotePredictor(address) as remote:
        cases = cases_of("local", LocalPredictor.load()) + cases_of("remote", remote)
        measured = run_rounds(cases, rounds)
        for what in ("classify", "detect"):
            print(compare(measured, what))
        print(measure_overhead(address, remote, rounds))


if __name__ == "__main__":
    main()
