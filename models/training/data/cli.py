"""`smearscan train prepare`."""

import json
from collections.abc import Mapping
from pathlib import Path

import click

from models.training.options import FOLDER, manifest_options, with_options


@click.command()
@click.option(
    "--lmu",
    type=FOLDER,
    help="Folder at or above AML-Cytomorphology_LMU.",
)
@with_options(*manifest_options(required=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The manifest to write; its record goes beside it as .json.",
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=2019, show_default=True)
@click.option(
    "--duplicates/--no-duplicates",
    default=True,
    show_default=True,
    help="Decode every file and keep near duplicates in one fold.",
)
@click.option("--partial", is_flag=True, help="Go on without missing or damaged files.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def prepare(
    lmu: Path | None,
    manifest: Path | None,
    root: Path | None,
    out: Path,
    folds: int,
    seed: int,
    duplicates: bool,
    partial: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Verify labelled cells and write a manifest with groups and folds.

    Cells of one patient and crops that show the same cell form a group; a group is never split
    between folds. Missing or damaged files are an error (exit code 1, all of them listed in the
    record) unless --partial is given. Train on the result with --manifest OUT and --root ROOT,
    where ROOT is what --lmu or --root was here.
    """
    from dataclasses import asdict
    from functools import partial as bind

    from rich.console import Console

    from models.training.data.manifest import write_manifest
    from models.training.data.prepare import (
        DataIncomplete,
        PreparePlan,
        prepare_lmu,
        prepare_manifest,
    )
    from models.training.data.record import describe_prepared, print_findings, print_prepared
    from models.training.progress import track

    if (lmu is None) == (manifest is None):
        raise click.UsageError("give either --lmu or --manifest")
    if (manifest is None) != (root is None):
        raise click.UsageError("--manifest and --root go together")
    if manifest is not None and out.exists() and out.samefile(manifest):
        raise click.UsageError("--out is the manifest itself; write to another file")
    plan = PreparePlan(
        folds=folds, seed=seed, duplicates=duplicates, partial=partial, threads=threads
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    record_path = out.with_suffix(".json")
    bar = bind(track, quiet=as_json)
    try:
        if lmu is not None:
            prepared = prepare_lmu(lmu, plan, track=bar)
        else:
            assert manifest is not None and root is not None
            prepared = prepare_manifest(manifest, root, plan, track=bar)
    except DataIncomplete as err:
        refusal = {"error": str(err), "files": asdict(err.findings)}
        _write_record(record_path, refusal)
        if as_json:
            click.echo(json.dumps(refusal, indent=2))
        else:
            print_findings(err.findings, console=Console(stderr=True))
        raise click.ClickException(f"{err}; all are listed in {record_path}") from err
    write_manifest(out, prepared.cells)
    record = describe_prepared(prepared)
    _write_record(record_path, record)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    print_prepared(prepared)
    click.echo(f"wrote {out} and {record_path}")


def _write_record(path: Path, record: Mapping[str, object]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
