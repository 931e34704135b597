"""`smearscan train human`: the examiners' figures from the annotation file."""

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.option(
    "--annotations",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="annotations.dat of AML-Cytomorphology_LMU.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for examiners.json and examiners.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def human(annotations: Path, out: Path | None, as_json: bool) -> None:
    """Sensitivity, specificity and agreement of the examiners who annotated cells again."""
    from models.training.data.annotations import read_annotations
    from models.training.evaluation.examiner_tables import format_examiners
    from models.training.evaluation.examiners import measure_examiners

    figures = measure_examiners(read_annotations(annotations))
    text = json.dumps(asdict(figures), indent=2)
    markdown = format_examiners(figures)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "examiners.json").write_text(text + "\n", encoding="utf-8")
        (out / "examiners.md").write_text(markdown, encoding="utf-8")
    click.echo(text if as_json else markdown.rstrip())
