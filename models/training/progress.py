"""A progress bar on stderr for long work; nothing when a machine is reading."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def track(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields `on_progress(done, total)`."""
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
