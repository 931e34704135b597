"""What `smearscan serve`, `api` and `worker` do. Imported when one of them runs."""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import click
import httpx
from pydantic import ValidationError

from service.embedded import NoEmbeddedQueue, redis_url, valkey_child
from service.layout import DataRoot
from service.lock import DataDirectoryInUse, own
from service.logs import configure_logs
from service.processes import api_children, worker_children
from service.settings import ServiceSettings, describe_wrong
from service.supervisor import Child, ChildNotReady, supervise

READY_WITHIN_S: Final = 60.0
"""After this long without an answer the person at the terminal is told what is missing."""


def run_all(options: Mapping[str, Any]) -> None:
    """The whole service on this machine, until it is stopped.

    Args:
        options: settings that override the environment's; None: not given.

    Raises:
        click.ClickException: it cannot start; what, why, and what to do.
    """
    settings, environment = _settings("serve", options)
    data = DataRoot.of(settings)
    try:
        data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with own(data):
            data.make()
            children: list[Child] = []
            if settings.redis_url is None:
                children.append(valkey_child(data))
                environment["SMEARSCAN_REDIS_URL"] = redis_url(data)
            children += worker_children(environment, settings.workers)
            children += api_children(environment)
            _prepare(settings)
            _run(children, _announce(settings))
    except (DataDirectoryInUse, NoEmbeddedQueue, OSError) as err:
        raise click.ClickException(str(err)) from err


def run_api(options: Mapping[str, Any]) -> None:
    """The front and the reconciler on a shared queue; arguments and errors as of `run_all`."""
    settings, environment = _settings("api", options)
    _on_shared_queue(settings)
    _prepare(settings)
    _run(list(api_children(environment)), _announce(settings))


def run_worker(options: Mapping[str, Any]) -> None:
    """Model, viewer and workers on a shared queue; arguments and errors as of `run_all`."""
    settings, environment = _settings("worker", options)
    _on_shared_queue(settings)
    _run(list(worker_children(environment, settings.workers)), None)


def _settings(process: str, options: Mapping[str, Any]) -> tuple[ServiceSettings, dict[str, str]]:
    """Settings with the options' values, and the environment that gives children the same.

    Logging is set up by them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = ServiceSettings(**given)
    except ValidationError as err:
        raise click.ClickException(describe_wrong(err)) from err
    given["data"] = settings.data.absolute()
    if "port" in given or settings.port == 0:
        given["port"] = settings.port or _free_port(settings.host)
    settings = settings.model_copy(update=given)
    try:
        configure_logs(process, settings.log_level)
    except ValueError as err:
        raise click.ClickException(f"SMEARSCAN_LOG_LEVEL: {err}") from err
    return settings, {f"SMEARSCAN_{name.upper()}": str(value) for name, value in given.items()}


def _free_port(host: str) -> int:
    """A port that is free now: the api keeps it when it is restarted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _on_shared_queue(settings: ServiceSettings) -> None:
    """Make the data directory of an installation that has its own Redis."""
    if settings.redis_url is None:
        raise click.ClickException(
            "SMEARSCAN_REDIS_URL is not set: name the Redis or Valkey server that all machines "
            "share, or run everything here with `smearscan serve`"
        )
    try:
        DataRoot.of(settings).make()
    except OSError as err:
        raise click.ClickException(str(err)) from err


def _prepare(settings: ServiceSettings) -> None:
    """Bring the database up to date; at the very first start, show the first API key, once."""
    # Imported here: a refusal does not wait for the database's library.
    from service.access.first_key import ensure_first_key
    from service.store.engine import database_url, migrate

    migrate(database_url(settings))
    key = ensure_first_key(settings)
    if key is not None:
        click.echo(f"Administrator's API key, shown only this once: {key}")


def _run(
    children: Sequence[Child],
    on_started: Callable[[], Coroutine[None, None, None]] | None,
) -> None:
    """Supervise until stopped.

    Exits with 130 if ctrl-C was pressed again while things were still finishing.
    """
    try:
        in_order = supervise(children, on_started)
    except ChildNotReady as err:
        raise click.ClickException(str(err)) from err
    if not in_order:
        sys.exit(130)


def _announce(settings: ServiceSettings) -> Callable[[], Coroutine[None, None, None]]:
    """What tells the person at the terminal that the service answers, or why not."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"

    async def wait() -> None:
        click.echo(f"Starting {url} (data: {settings.data}); ctrl-C stops")
        began, told = monotonic(), False
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while (missing := await _missing(client, f"{url}/readyz")) is not None:
                if not told and monotonic() - began > READY_WITHIN_S:
                    click.echo(f"Not ready after {READY_WITHIN_S:g} s: {missing}", err=True)
                    told = True
                await asyncio.sleep(0.25)
        click.echo(f"Ready: {settings.public_url or url}")

    return wait


async def _missing(client: httpx.AsyncClient, url: str) -> str | None:
    """None if the service is ready; else what it says is missing."""
    try:
        answer = await client.get(url)
    except httpx.HTTPError as err:
        return f"{url} does not answer ({type(err).__name__}); the log says why"
    return None if answer.status_code == 200 else answer.text[:500]
