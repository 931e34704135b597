"""`smearscan rescan` and `batches`: an archive to a running service."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from service.client.client import Client
from service.client.options import (
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    connected,
    parameter_options,
    read_parameters,
    server_options,
)
from service.client.watching import describe_state, watch_batch
from service.contract.batch import Batch, BatchRequest, BatchState, ItemState, has_wildcards

MANIFEST_SENT_BYTES: Final = 1_500_000
"""A larger manifest is not sent: it has to lie where the service can read it."""
NAMED: Final = 20
"""Failed slides that are named at the end; the summary has all."""


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="ROOT|GLOB|MANIFEST…")
@click.option("--name", help="What people call the batch; by default after the first source.")
@click.option("--wait/--no-wait", default=True, help="Watch it to its end.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the batch as JSON and nothing else.")
@parameter_options
@server_options
def rescan(
    sources: tuple[str, ...],
    name: str | None,
    wait: bool,
    as_json: bool,
    um_per_px: float | None,
    region: str,
    model: str | None,
    force: bool,
    server: str | None,
    key: str | None,
) -> None:
    """Scan all slides of an archive that this version of the model has not scanned.

    A source is a directory, a quoted pattern such as '/archive/2024/**/*.svs', or a CSV file with
    the columns slide_uri and optionally um_per_px and accession. Paths are the service's.

    May be stopped and started again: the same command goes on watching the same batch, and the
    batch goes on by itself. Exits 0 when every slide succeeded or was skipped, 3 when some failed,
    1 when the service refuses or the batch was cancelled, 4 when it cannot be reached.
    """
    try:
        request = BatchRequest(
            name=name or f"rescan of {sources[0]}"[:200],
            parameters=read_parameters(um_per_px, region, model),
            force=force,
            **sort_sources(sources),
        )
    except ValidationError as err:
        raise click.UsageError(err.errors()[0]["msg"]) from err
    with connected(server, key) as client:
        batch, fresh = client.post_batch(request)
        if not as_json:
            _say_begun(batch, fresh=fresh)
        if wait:
            batch = _watch(client, batch, quiet=as_json)
        if as_json:
            click.echo(batch.model_dump_json(indent=2))
        elif wait:
            _say_end(client, batch)
    if wait and batch.state is BatchState.CANCELLED:
        sys.exit(FAILED)
    if wait and batch.counts.failed:
        sys.exit(SOME_FAILED)


@click.group()
def batches() -> None:
    """Look at batches of a running service; pause, resume, cancel them."""


@batches.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@server_options
def list_batches(limit: int, server: str | None, key: str | None) -> None:
    """Show the newest batches."""
    with connected(server, key) as client:
        for batch in client.list_batches(limit):
            _say(batch)


def _change(change: str, what: str) -> click.Command:
    @server_options
    def command(batch_id: str, server: str | None, key: str | None) -> None:
        with connected(server, key) as client:
            _say(client.change_batch(batch_id, change))

    command.__doc__ = what
    return click.command(change)(click.argument("batch_id")(command))


batches.add_command(_change("pause", "Begin no further scan; those that wait or run go on."))
batches.add_command(_change("resume", "Begin scans again."))
batches.add_command(_change("cancel", "Give up what is not over."))


def sort_sources(sources: Sequence[str]) -> dict[str, Any]:
    """Which source is a directory, a pattern or a manifest, as fields of a request.

    A manifest that lies here is sent, unless it is too large; any other is the service's to read.

    Raises:
        click.UsageError: there are several manifests.
    """
    manifests = [s for s in sources if s.lower().endswith(".csv") and not has_wildcards(s)]
    if len(manifests) > 1:
        raise click.UsageError("give one manifest at a time")
    asked: dict[str, Any] = {
        "globs": tuple(str(Path(s).absolute()) for s in sources if has_wildcards(s)),
        "roots": tuple(
            str(Path(s).absolute()) for s in sources if not has_wildcards(s) and s not in manifests
        ),
    }
    for text in manifests:
        path = Path(text)
        if path.is_file() and path.stat().st_size <= MANIFEST_SENT_BYTES:
            try:
                asked["manifest"] = path.read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as err:
                raise click.UsageError(f"{text} is not UTF-8: save it as UTF-8") from err
        else:
            asked["manifest_uri"] = str(path.absolute())
    return asked


def _watch(client: Client, batch: Batch, *, quiet: bool) -> Batch:
    try:
        return watch_batch(client, batch, quiet=quiet)
    except KeyboardInterrupt:
        click.echo(
            f"The batch goes on. The same command watches it again;"
            f" `smearscan batches pause {batch.batch_id}` and `resume` stop it and let it go on,"
            f" `smearscan batches cancel {batch.batch_id}` ends it.",
            err=True,
        )
        sys.exit(INTERRUPTED)


def _say_begun(batch: Batch, *, fresh: bool) -> None:
    click.echo(f"{'batch' if fresh else 'going on with batch'} {batch.batch_id}", err=True)
    if batch.state is BatchState.PAUSED:
        click.echo(f"It is paused: `smearscan batches resume {batch.batch_id}`.", err=True)


def _say(batch: Batch) -> None:
    counts = batch.counts
    click.echo(
        f"{batch.batch_id}  {describe_state(batch)}: {counts.ended} of {counts.total} over,"
        f" {counts.failed} failed  {batch.name}"
    )


def _say_end(client: Client, batch: Batch) -> None:
    counts = batch.counts
    click.echo(
        f"{batch.state}: {counts.succeeded} succeeded, {counts.skipped} skipped,"
        f" {counts.failed} failed" + (f", {counts.cancelled} cancelled" if counts.cancelled else "")
    )
    if batch.message:
        click.echo(batch.message)
    if counts.failed:
        for number, item in enumerate(client.list_items(batch.batch_id, ItemState.FAILED)):
            if number == NAMED:
                click.echo(f"… and {counts.failed - NAMED} more", err=True)
                break
            assert item.failure is not None
            click.echo(f"{item.failure.code}: {item.slide_uri}: {item.failure.message}", err=True)
    click.echo(f"Numbers of each slide: {client.server}/v1/batches/{batch.batch_id}/summary.csv")
