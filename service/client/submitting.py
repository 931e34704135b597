"""`smearscan submit`: one slide to a running service."""

import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from service.client.client import Client
from service.client.options import (
    FAILED,
    INTERRUPTED,
    connected,
    parameter_options,
    read_parameters,
    server_options,
)
from service.client.watching import watch_scan
from service.contract.scan import Priority, Scan, ScanState
from service.contract.submission import ScanMetadata
from service.terminal import print_summary, show_progress, track


@click.command()
@click.argument(
    "slide", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False
)
@click.option("--uri", help="A slide that the service can reach by itself, instead of SLIDE.")
@click.option("--wait", is_flag=True, help="Wait for the report and print it.")
@click.option("--json", "as_json", is_flag=True, help="Print the report, or the scan, as JSON.")
@click.option("--accession", help="The laboratory's number of the order; sent back.")
@click.option("--specimen", help="The laboratory's number of the smear; sent back.")
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.INTERACTIVE.value,
    show_default=True,
    help="Which queue to wait in.",
)
@click.option("--callback-url", help="Where the service tells that the scan is over.")
@parameter_options
@server_options
def submit(
    slide: Path | None,
    uri: str | None,
    wait: bool,
    as_json: bool,
    um_per_px: float | None,
    region: str,
    model: str | None,
    server: str | None,
    key: str | None,
    **metadata: Any,
) -> None:
    """Have the service scan SLIDE.

    Exits 0 when the scan succeeded (without --wait: when it was taken), 1 when it failed or was
    refused, 4 when the service cannot be reached. Research use only.
    """
    if (slide is None) == (uri is None):
        raise click.UsageError("give either SLIDE or --uri")
    parameters = read_parameters(um_per_px, region, model)
    try:
        asked = ScanMetadata.model_validate({**dict(parameters), **metadata})
    except ValidationError as err:
        first = err.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise click.BadParameter(first["msg"], param_hint=f"--{option}") from err
    with connected(server, key) as client:
        scan = _post(client, slide, uri, asked, quiet=as_json)
        if wait:
            scan = _wait(client, scan, quiet=as_json)
        _show(client, scan, as_json=as_json, wait=wait)
    if scan.state in {ScanState.FAILED, ScanState.CANCELLED}:
        sys.exit(FAILED)


def _post(
    client: Client, slide: Path | None, uri: str | None, asked: ScanMetadata, *, quiet: bool
) -> Scan:
    if uri is not None:
        return client.post_uri(uri, asked)
    assert slide is not None
    with track("sending", quiet=quiet) as on_sent:
        try:
            return client.post_slide(slide, asked, on_sent)
        except OSError as err:
            raise click.ClickException(f"{slide}: {err.strerror}") from err


def _wait(client: Client, scan: Scan, *, quiet: bool) -> Scan:
    try:
        with show_progress(quiet=quiet) as on_progress:
            return watch_scan(client, scan, on_progress)
    except KeyboardInterrupt:
        click.echo(f"The scan goes on: {client.server}/v1/scans/{scan.scan_id}", err=True)
        sys.exit(INTERRUPTED)


def _show(client: Client, scan: Scan, *, as_json: bool, wait: bool) -> None:
    url = f"{client.server}/v1/scans/{scan.scan_id}"
    if scan.failure is not None and scan.state is ScanState.FAILED:
        click.echo(f"{scan.failure.code}: {scan.failure.message}", err=True)
    elif scan.state is ScanState.CANCELLED:
        click.echo("cancelled: somebody cancelled the scan", err=True)
    if wait and scan.state is ScanState.SUCCEEDED:
        report = client.get_report(scan.scan_id)
        if as_json:
            click.echo(report.model_dump_json(indent=2))
        else:
            print_summary(report, f"{url}/report.html")
    elif as_json:
        click.echo(scan.model_dump_json(indent=2))
    else:
        click.echo(f"{scan.state}: {url}")
