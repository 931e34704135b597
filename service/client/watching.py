"""Progress of something that runs elsewhere, shown until it is over."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from service.client.client import Client
from service.client.pace import Pace
from service.contract.batch import Batch, BatchState
from service.contract.scan import Scan, Stage

SCAN_EVERY_S: Final = 0.5
BATCH_EVERY_S: Final = 2.0


def watch_scan(client: Client, scan: Scan, on_progress: Callable[[Stage, int, int], None]) -> Scan:
    """Wait until a scan is over.

    Args:
        client: of its service.
        scan: to watch.
        on_progress: called with where it stands.

    Raises:
        ClientError: the service does not tell any more; the scan goes on.
    """
    while not scan.state.is_terminal:
        time.sleep(SCAN_EVERY_S)
        scan = client.get_scan(scan.scan_id)
        if scan.stage is not None:
            progress = scan.progress
            on_progress(
                scan.stage, progress.done if progress else 0, progress.total if progress else 0
            )
    return scan


def watch_batch(client: Client, batch: Batch, *, quiet: bool = False) -> Batch:
    """Show how far a batch is until nothing more will happen with it.

    Raises:
        ClientError: the service does not tell any more; the batch goes on.
    """
    pace = Pace()
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
        disable=quiet,
    )
    with bars:
        task = bars.add_task(batch.state, total=None, note="")
        while True:
            pace.note(time.monotonic(), batch.progress.done)
            bars.update(
                task,
                description=describe_state(batch),
                completed=batch.progress.done,
                total=batch.progress.total or None,
                note=describe_pace(batch, pace),
            )
            if batch.finished_at is not None:
                return batch
            time.sleep(BATCH_EVERY_S)
            batch = client.get_batch(batch.batch_id)


def describe_state(batch: Batch) -> str:
    """What a batch does, in a word or two."""
    if batch.state is BatchState.LISTING:
        return "listing and scanning"
    if batch.state is BatchState.RUNNING:
        return "scanning"
    if batch.state is BatchState.PAUSED:
        return f"paused ({batch.message})" if batch.message else "paused"
    return str(batch.state)


def describe_pace(batch: Batch, pace: Pace) -> str:
    """How many failed, how fast it goes, how long it will take."""
    parts = []
    if batch.counts.failed:
        parts.append(f"{batch.counts.failed} failed")
    if pace.per_hour:
        parts.append(f"{pace.per_hour:.0f} slides/h")
    left_s = pace.left_s(batch.progress.total)
    if left_s is not None and batch.is_listed:
        parts.append(f"{timedelta(seconds=round(left_s))} left")
    return ", ".join(parts)
