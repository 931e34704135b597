"""The `smearscan` command: finds the part that owns a sub-command and hands over.

Commands are named as text and imported when first used, so the service's side of the program
starts without torch, and an installation without the `worker` or `train` extra still has a
working command line.

Exit codes: 0 done, 1 a typed failure (its code on stderr), 2 wrong usage, 130 interrupted.
"""

import importlib
from typing import Final

import click

COMMANDS: Final = {
    "scan": "worker.cli:scan",
    "submit": "service.client.commands:submit",
    "rescan": "service.client.commands:rescan",
    "batches": "service.client.commands:batches",
    "serve": "service.commands:serve",
    "api": "service.commands:api",
    "worker": "service.commands:worker",
    "keys": "service.access.commands:keys",
    "demo-slide": "worker.cli:demo_slide",
    "doctor": "worker.cli:doctor",
    "train": "models.training.cli:train",
}
"""Sub-command → "module:attribute" of its click command."""


class LazyGroup(click.Group):
    """A group whose sub-commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smearscan")
def main() -> None:
    """Count blasts on whole-slide scans of blood smears. Research use only."""
