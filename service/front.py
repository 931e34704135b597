"""`python -m service.front`: the api under uvicorn."""

import logging
import os
import shutil

import uvicorn

from service.app import create_app
from service.layout import DataRoot
from service.logs import configure_logs
from service.metrics import SHARED
from service.settings import ServiceSettings

BACKLOG = 1024


def create() -> object:
    """The app of the settings in the environment, for uvicorn's processes."""
    settings = ServiceSettings()
    configure_logs("api", settings.log_level)
    logging.getLogger("uvicorn.access").disabled = True  # `service.edge` has a line of its own
    return create_app(settings)


def share_counts(data: DataRoot) -> None:
    """Have the processes that are started from here count together, beginning anew."""
    shutil.rmtree(data.metrics, ignore_errors=True)
    data.metrics.mkdir(mode=0o700)
    os.environ[SHARED] = str(data.metrics)


def main() -> None:
    """Serve until told to stop; requests under way are finished."""
    settings = ServiceSettings()
    configure_logs("api", settings.log_level)
    if settings.api_processes > 1:
        share_counts(DataRoot.of(settings))
    uvicorn.run(
        "service.front:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.api_processes,
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
