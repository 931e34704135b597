"""Options that the client's commands share, and what they end with.

Exit codes: 0 done, 1 a scan failed or the service refuses, 2 wrong usage, 3 slides of a batch
failed, 4 the service cannot be reached, 130 interrupted.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click
from pydantic import SecretStr

from service.client.client import Client, Refused, Unreachable
from service.client.settings import ClientSettings
from service.contract.scan import RegionChoice, ScanParameters

FAILED: Final = 1
SOME_FAILED: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130

_Command = TypeVar("_Command", bound=Callable[..., Any])


def server_options(command: _Command) -> _Command:
    """Which service, and with which key."""
    command = click.option(
        "--key", help="API key [SMEARSCAN_KEY]; an option is seen by who lists processes."
    )(command)
    return click.option("--server", help="URL of the service [SMEARSCAN_SERVER].")(command)


def parameter_options(command: _Command) -> _Command:
    """How to scan."""
    for option in (
        click.option(
            "--force", is_flag=True, help="Scan anew what this version of the model has scanned."
        ),
        click.option("--model", help="Classifier; by default the installation's."),
        click.option(
            "--region",
            type=click.Choice([choice.value for choice in RegionChoice]),
            default=RegionChoice.MONOLAYER.value,
            show_default=True,
            help="Count on the monolayer only, or on the whole slide.",
        ),
        click.option(
            "--um-per-px",
            type=click.FloatRange(0.02, 10),
            help="Micrometres per full-resolution pixel; overrides the slide's metadata.",
        ),
    ):
        command = option(command)
    return command


def read_parameters(um_per_px: float | None, region: str, model: str | None) -> ScanParameters:
    """The options as the interface knows them."""
    return ScanParameters(um_per_px=um_per_px, region=RegionChoice(region), model=model)


@contextmanager
def connected(server: str | None, key: str | None) -> Iterator[Client]:
    """A client of the service that is named; its errors end the command."""
    given: dict[str, Any] = {}
    if server:
        given["server"] = server
    if key:
        given["key"] = SecretStr(key)
    with Client(ClientSettings(**given)) as client:
        try:
            yield client
        except Unreachable as err:
            click.echo(f"unreachable: {err}", err=True)
            sys.exit(UNREACHABLE)
        except Refused as err:
            click.echo(f"{err.code}: {err}", err=True)
            sys.exit(FAILED)
