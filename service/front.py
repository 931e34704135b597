"""`python -m service.front`: the api under uvicorn."""

import logging

import uvicorn

from service.app import create_app
from service.logs import configure_logs
from service.settings import ServiceSettings

BACKLOG = 1024


def create() -> object:
    """The app of the settings in the environment, for uvicorn's processes."""
    settings = ServiceSettings()
    configure_logs("api", settings.log_level)
    logging.getLogger("uvicorn.access").disabled = True  # `service.edge` has a line of its own
    return create_app(settings)


def main() -> None:
    """Serve until told to stop; requests under way are finished."""
    settings = ServiceSettings()
    configure_logs("api", settings.log_level)
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
