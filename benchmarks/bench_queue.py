"""What waiting for the disk costs the embedded queue: `python -m benchmarks.bench_queue`.

Enqueues jobs one after another, as the api does, with `appendfsync everysec` and `always` by turns.
"""

import asyncio
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

import click
import numpy as np
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from service.embedded import redis_url, server_argv, wait_until_ready
from service.layout import DataRoot

MODES: Final = ("everysec", "always")


def enqueue_ms(data: DataRoot, mode: str, jobs: int) -> list[float]:
    """Milliseconds that each of so many jobs took to be enqueued."""
    argv = [mode if word in MODES else word for word in server_argv(data)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as server:
        try:
            asyncio.run(wait_until_ready(redis_url(data)))
            queue = Queue(connection=Redis.from_url(redis_url(data)), serializer=JSONSerializer)
            taken = []
            for number in range(jobs):
                began = perf_counter()
                queue.enqueue_call("worker.tasks.scan", [str(number), 1])
                taken.append(1000 * (perf_counter() - began))
        finally:
            server.kill()
    return taken


@click.command()
@click.option("--jobs", default=500, show_default=True)
@click.option("--rounds", default=4, show_default=True)
@click.option("--disk", type=click.Path(exists=True, path_type=Path), default=Path())
def main(jobs: int, rounds: int, disk: Path) -> None:
    """Print the median and the 99th percentile of each mode, all rounds together."""
    taken: dict[str, list[float]] = {mode: [] for mode in MODES}
    for mode in MODES * rounds:
        with tempfile.TemporaryDirectory(dir=disk.absolute()) as folder:
            data = DataRoot(Path(folder))
            data.make()
            taken[mode] += enqueue_ms(data, mode, jobs)
            data.redis_socket.unlink(missing_ok=True)
            data.run.rmdir()
    for mode, values in taken.items():
        median, worst = np.percentile(values, (50, 99))
        click.echo(f"{mode:<9} median {median:.2f} ms, 99th percentile {worst:.1f} ms a job")


if __name__ == "__main__":
    main()
