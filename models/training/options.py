"""Command-line options that several `smearscan train` commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

Command = Callable[..., Any]
Option = Callable[[Command], Command]

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
"""A file that is there."""

FOLDER: Final = click.Path(path_type=Path, exists=True, file_okay=False)
"""A directory that is there."""

NEW_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
"""A directory that may be there."""


def manifest_options(*, required: bool) -> tuple[Option, ...]:
    """`--manifest` and `--root`."""
    return (
        click.option(
            "--manifest",
            type=FILE,
            required=required,
            help="CSV: path,source,label,patient,split,um_per_px, and group,fold once prepared.",
        ),
        click.option(
            "--root",
            type=FOLDER,
            required=required,
            help="Directory that the manifest's paths are relative to.",
        ),
    )


def with_options(*options: Option) -> Option:
    """Several options as one decorator, in the order they are shown."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
