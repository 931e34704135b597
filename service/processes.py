"""Which processes make up a service, as children of the supervisor."""

import sys
from collections.abc import Iterator, Mapping
from typing import Final

from service.supervisor import Child

SLIDE_GRACE_S: Final = 15.0
"""Time a stopping worker has to give its scan back to the queue."""
HTTP_GRACE_S: Final = 15.0


def _module(name: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *words)


def api_children(environment: Mapping[str, str]) -> Iterator[Child]:
    """The front and the reconciler: first to stop, so nothing new comes in."""
    yield Child("api", _module("service.front"), environment, stop_order=0, grace_s=HTTP_GRACE_S)
    yield Child("reconciler", _module("service.reconciler"), environment, stop_order=0)


def worker_children(environment: Mapping[str, str], workers: int) -> Iterator[Child]:
    """The model process, the viewer and so many workers.

    SIGTERM has an rq worker give its scan back to the queue at once and take no other.
    """
    yield Child("model", _module("worker", "model"), environment, stop_order=2)
    yield Child("viewer", _module("worker", "viewer"), environment, stop_order=3)
    for number in range(1, workers + 1):
        yield Child(
            f"rq-{number}",
            _module("worker", "rq"),
            environment,
            stop_order=1,
            grace_s=SLIDE_GRACE_S,
        )
