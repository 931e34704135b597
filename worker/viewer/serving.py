"""`python -m worker viewer`: the viewer as the supervisor starts it."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import numpy as np
import uvicorn
from numpy.typing import NDArray

from models.taxonomy import CellClass
from service.layout import DataRoot
from service.logs import configure_logs
from service.settings import ServiceSettings
from worker.model.client import fetch_saliency
from worker.viewer.app import build_app
from worker.viewer.permission import SlideRoots
from worker.viewer.pool import PoolLimits, SlidePool
from worker.viewer.saliency import FetchSaliency

BACKLOG: Final = 128
MODEL_PATIENCE_S: Final = 10.0
"""For a model process that is being started again; a person waits."""


class ViewerRunning(OSError):
    """Another viewer answers at this address."""


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        Exit code: 0 after a signal; 1 with a line on stderr when the address cannot be had.
    """

    def end(signum: int, frame: FrameType | None) -> None:
        sys.exit(0)  # before uvicorn listens to signals, and when it hands on the one it got

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    settings = ServiceSettings()
    configure_logs("viewer", settings.log_level)
    data = DataRoot.of(settings)
    try:
        data.make()
        listener = listen(settings, data)
    except (OSError, OverflowError) as err:  # a port beyond 65,535 is the latter
        print(f"viewer: {err}", file=sys.stderr)
        return 1
    with listener:
        asyncio.run(serve(listener, settings, data))
    return 0


async def serve(
    listener: socket.socket,
    settings: ServiceSettings,
    data: DataRoot,
    limits: PoolLimits | None = None,
) -> None:
    """Answer on a listening socket until the process is told to end."""
    roots = SlideRoots((data.slides, *settings.slide_roots))
    app = build_app(SlidePool(limits or PoolLimits()), roots, remote_saliency(data.model_socket))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level=settings.log_level.lower(),
        lifespan="on",
        timeout_graceful_shutdown=10,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def listen(settings: ServiceSettings, data: DataRoot) -> socket.socket:
    """The socket at which the api finds this viewer, bound.

    A socket file that a killed viewer left is replaced.

    Raises:
        ViewerRunning: a living one answers there.
        OSError: the address cannot be had.
    """
    if settings.viewer_listen is not None:
        host, _, port = settings.viewer_listen.rpartition(":")
        return socket.create_server((host.strip("[]"), int(port)), backlog=BACKLOG)
    path = data.viewer_socket
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(os.fspath(path)) == 0:
                raise ViewerRunning("another viewer serves this data directory: stop it first")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def remote_saliency(model_socket: Path) -> FetchSaliency:
    """The saliency of this machine's model process."""

    def fetch(
        patch: NDArray[np.uint8], *, model: str | None, target: CellClass | None
    ) -> NDArray[np.float32]:
        return fetch_saliency(
            model_socket, patch, classifier=model, target=target, patience_s=MODEL_PATIENCE_S
        )

    return fetch
