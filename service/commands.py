"""`smearscan serve`, `api` and `worker`: the service on one machine, or its halves on several."""

from pathlib import Path
from typing import Any

import click

_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory [SMEARSCAN_DATA].",
)
_host = click.option("--host", help="Address to listen on [SMEARSCAN_HOST].")
_port = click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port; 0 picks a free one [SMEARSCAN_PORT]."
)
_workers = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Slides analysed at the same time [SMEARSCAN_WORKERS].",
)


@click.command()
@_data
@_host
@_port
@_workers
def serve(**options: Any) -> None:
    """Run the whole service on this machine; ctrl-C stops it.

    With no other settings everything lies in the data directory: slides, results, a SQLite database
    and the queue. Every setting is an environment variable (docs/configuration.md).
    """
    from service.serving import run_all

    run_all(options)


@click.command()
@_data
@_host
@_port
def api(**options: Any) -> None:
    """Run the HTTP front and the reconciler, on a Redis and a database of their own.

    For an installation of several machines: see docs/operations.md.
    """
    from service.serving import run_api

    run_api(options)


@click.command()
@_data
@_workers
def worker(**options: Any) -> None:
    """Analyse slides on this machine, for an api elsewhere.

    It runs one model process, one viewer and as many workers as slides at a time; the data
    directory, the queue and the database are those of the api.
    """
    from service.serving import run_worker

    run_worker(options)
