"""`smearscan scan`, `demo-slide` and `doctor`. Heavy imports wait for a command to run."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

import click

from service.contract.failure import AnalysisError
from service.contract.scan import RegionChoice, ScanParameters


@contextmanager
def _typed_failures(as_json: bool = False) -> Iterator[None]:
    """Exit 1 with the failure's code on stderr, and as JSON on stdout if asked.

    What the file system forbids is a message without a traceback, too.
    """
    try:
        yield
    except OSError as err:
        raise click.ClickException(str(err)) from err
    except AnalysisError as err:
        click.echo(f"{err.code}: {err.message}", err=True)
        if as_json:
            click.echo(err.failure.model_dump_json(indent=2))
        sys.exit(1)


@click.command()
@click.argument("slide", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for the results; an earlier result there is replaced.",
)
@click.option(
    "--um-per-px",
    type=click.FloatRange(0.02, 10),
    help="Micrometres per full-resolution pixel; overrides the slide's metadata.",
)
@click.option(
    "--region",
    type=click.Choice([choice.value for choice in RegionChoice]),
    default=RegionChoice.MONOLAYER.value,
    show_default=True,
    help="Count on the monolayer only, or on the whole slide.",
)
@click.option(
    "--weights", default="default", show_default=True, help="Classifier: a name or a directory."
)
@click.option(
    "--patches", is_flag=True, help="Keep a JPEG of every cell, in patches.zip (30 kB a cell)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report and nothing else.")
def scan(
    slide: Path,
    out: Path,
    um_per_px: float | None,
    region: str,
    weights: str,
    patches: bool,
    as_json: bool,
) -> None:
    """Find, classify and count the leukocytes on SLIDE.

    Writes report.json, report.html, cells.csv, cells.parquet, cells.geojson (QuPath) and
    doubtful.csv (what may be leukocytes and was not counted) into the directory given by --out.
    Exits 0 also for a slide without leukocytes. Research use only.
    """
    from models.catalogue import DEFAULT_WEIGHTS
    from service.contract.settings import AnalysisSettings
    from service.terminal import print_summary, show_progress
    from worker.inference import LocalPredictor
    from worker.pipeline import scan_slide
    from worker.results import TargetOccupied, check_target, open_patch_store, write_results

    parameters = ScanParameters(
        um_per_px=um_per_px,
        region=RegionChoice(region),
        model=None if weights == DEFAULT_WEIGHTS else Path(weights).name,
    )
    with _typed_failures(as_json):
        try:
            check_target(out)
        except TargetOccupied as err:
            raise click.BadParameter(str(err), param_hint="--out") from err
        predictor = LocalPredictor.load(classifier=weights)
        with open_patch_store(out) if patches else nullcontext() as store:
            with show_progress(quiet=as_json) as on_progress:
                results = scan_slide(
                    slide,
                    predictor,
                    scan_id=uuid4().hex,
                    parameters=parameters,
                    settings=AnalysisSettings(),
                    on_progress=on_progress,
                    patch_store=store,
                )
            write_results(out, results)
    if as_json:
        click.echo(results.report.model_dump_json(indent=2))
    else:
        print_summary(results.report, str(out / "report.html"))


@click.command("demo-slide")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--mm2", type=click.FloatRange(0.02, 400), required=True, help="Area, mm².")
@click.option("--seed", type=click.IntRange(0), required=True, help="Same seed, same slide.")
@click.option("--leukocytes", type=click.IntRange(0), help="How many; by default as in blood.")
@click.option(
    "--blast-fraction",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of leukocytes that are myeloblasts.",
)
def demo_slide(
    out: Path, mm2: float, seed: int, leukocytes: int | None, blast_fraction: float
) -> None:
    """Render a synthetic smear as a pyramid, with a truth file beside it.

    It is a drawing, not blood: for demonstrations, tests and benchmarks.
    """
    from service.terminal import track
    from worker.demo import write_demo_slide

    with _typed_failures(), track("rendering") as on_progress:
        try:
            truth = write_demo_slide(
                out,
                mm2=mm2,
                seed=seed,
                leukocytes=leukocytes,
                blast_fraction=blast_fraction,
                progress=on_progress,
            )
        except ValueError as err:
            raise click.ClickException(str(err)) from err
    click.echo(f"{out}: {len(truth.leukocytes)} leukocytes on {mm2:g} mm², synthetic", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def doctor(as_json: bool) -> None:
    """Check this installation: versions, device, weights, and a tiny slide scanned for real."""
    from worker.doctor import examine

    healthy = True
    findings = []
    for finding in examine():
        healthy = healthy and finding.ok
        findings.append({"what": finding.what, "ok": finding.ok, "detail": finding.detail})
        if not as_json:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {finding.what:<24} {finding.detail}")
    if as_json:
        click.echo(json.dumps({"healthy": healthy, "findings": findings}, indent=2))
    sys.exit(0 if healthy else 1)
