"""`smearscan train evaluate`: of served weights on labelled cells, or of a cross-validation."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.training.options import FILE, FOLDER, NEW_FOLDER, manifest_options, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.training.data.manifest import LabelledCell
    from models.training.evaluation.crossvalidation import Fold
    from models.training.evaluation.examiners import ExaminerFigures
    from models.training.evaluation.figures.saliency_panel import Example

_WEIGHTS_ONLY = {
    "weights": "--weights",
    "manifest": "--manifest",
    "split": "--split",
    "found_by": "--found-by",
}
_CROSSVAL_ONLY = {
    "out": "--out",
    "annotations": "--annotations",
    "paper_reference": "--paper-reference",
}


@click.command()
@click.option("--weights", default="default", show_default=True, help="Name or directory.")
@with_options(*manifest_options(required=False))
@click.option("--split", default=None, help="Only these rows; by default all but 'train'.")
@click.option(
    "--found-by",
    help="Only cells that this detector finds, as in a scan; name, 'default' or directory.",
)
@click.option(
    "--crossval",
    type=FOLDER,
    help="Directory that `smearscan train crossval` wrote.",
)
@click.option(
    "--out",
    type=NEW_FOLDER,
    help="Where tables, figures and report of a cross-validation go.",
)
@click.option(
    "--annotations",
    type=FILE,
    help="annotations.dat, for the examiners' points and their agreement.",
)
@click.option("--paper-reference", is_flag=True, help="Mark the published points in ROC figures.")
@click.option(
    "--bootstrap", type=click.IntRange(min=100), default=2000, show_default=True, help="Replicates."
)
@click.option("--seed", type=click.IntRange(min=0), default=2019, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.pass_context
def evaluate(
    context: click.Context,
    weights: str,
    manifest: Path | None,
    root: Path | None,
    split: str | None,
    found_by: str | None,
    crossval: Path | None,
    out: Path | None,
    annotations: Path | None,
    paper_reference: bool,
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> None:
    """Figures of weights on a manifest, or of a whole cross-validation.

    \b
    --weights NAME --manifest FILE --root DIR   any weights, figures per source
    --crossval DIR --out OUT [--root DIR]       tables, figures and report of every fold

    Of a manifest, rows of the split 'train' are never evaluated unless asked for by --split, and
    rows whose label is not one of the 15 codes are left out and counted. With --found-by so are
    cells that the detector does not find: a scan never comes to name them. A cross-validation needs
    --root only for the saliency panel.
    """
    if crossval is not None:
        _reject(context, _WEIGHTS_ONLY, "belongs to --manifest, not to --crossval")
        if out is None:
            raise click.UsageError("--crossval needs --out")
        _evaluate_crossval(
            crossval,
            out,
            root=root,
            annotations=annotations,
            paper_reference=paper_reference,
            bootstrap=bootstrap,
            seed=seed,
            as_json=as_json,
        )
        return
    _reject(context, _CROSSVAL_ONLY, "belongs to --crossval")
    if manifest is None or root is None:
        raise click.UsageError("give --manifest and --root, or --crossval and --out")
    _evaluate_weights(
        weights,
        manifest,
        root,
        split=split,
        found_by=found_by,
        bootstrap=bootstrap,
        seed=seed,
        as_json=as_json,
    )


def _reject(context: click.Context, options: dict[str, str], why: str) -> None:
    for name, flag in options.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{flag} {why}")


def _evaluate_crossval(
    directory: Path,
    out: Path,
    *,
    root: Path | None,
    annotations: Path | None,
    paper_reference: bool,
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> None:
    from models.training.evaluation.crossvalidation import read_crossval
    from models.training.evaluation.publish import measure_crossval, publish_crossval

    folds = read_crossval(directory)
    examiners = _read_examiners(annotations) if annotations else None
    figures = measure_crossval(folds, replicates=bootstrap, seed=seed)
    examples, reason = _explain(folds, root, seed=seed)
    if reason:
        click.echo(f"no saliency panel: {reason}", err=True)
    publish_crossval(
        out,
        folds,
        figures,
        examiners=examiners,
        examples=examples,
        without_saliency=reason,
        paper_reference=paper_reference,
    )
    if as_json:
        click.echo(figures.model_dump_json(indent=2))
        return
    from models.training.evaluation.tables import print_crossval

    print_crossval(figures)
    click.echo(f"report: {out / 'report.md'}")


def _explain(
    folds: "tuple[Fold, ...]", root: Path | None, *, seed: int
) -> "tuple[tuple[Example, ...], str]":
    """Examples for the panel, or none and why."""
    from models.training.evaluation.examples import (
        PanelUnavailable,
        choose_examples,
        explain_examples,
    )

    if root is None:
        return (), "no --root, so the crops cannot be read"
    try:
        return explain_examples(folds, choose_examples(folds, seed=seed), root=root), ""
    except PanelUnavailable as err:
        return (), str(err)


def _read_examiners(annotations: Path) -> "ExaminerFigures":
    from models.training.data.annotations import read_annotations
    from models.training.evaluation.examiners import measure_examiners

    return measure_examiners(read_annotations(annotations))


def _evaluate_weights(
    weights: str,
    manifest: Path,
    root: Path,
    *,
    split: str | None,
    found_by: str | None,
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> None:
    from models.allocator import keep_freed_memory
    from models.predictor import Classifier
    from models.training.data.manifest import read_manifest
    from models.training.evaluation.cell_figures import Part, measure_cells
    from models.training.evaluation.predictions import predict_cells
    from models.training.evaluation.rejection import measure_rejection, predict_strangers
    from models.training.evaluation.source_figures import complete_figures
    from models.training.progress import track

    keep_freed_memory()
    rows = read_manifest(
        manifest, root=root, split=split, leave_out_split=None if split else "train"
    )
    classifier = Classifier.load(weights)
    card = classifier.card
    cells, missed = _find(found_by, rows.cells, quiet=as_json) if found_by else (rows.cells, None)
    with track("classifying", quiet=as_json) as on_progress:
        predictions = predict_cells(classifier, cells, on_progress=on_progress)
    part = Part(predictions, None, frozenset(card.unsupported_classes))
    detail = {
        source: measure_cells([part.of_source(source)], replicates=bootstrap, seed=seed)
        for source in predictions.sources
    }
    sources = complete_figures(
        predictions.per_source(card), detail, predictions, temperature=card.temperature
    )
    rejection = None
    if card.rejection is not None:
        rejection = measure_rejection(
            predictions,
            predict_strangers(classifier, rows.strangers),
            above=card.rejection.above,
        )
    result = {
        "weights": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "unsupported_classes": list(card.unsupported_classes),
        "left_out": dict(rows.left_out),
        "missed": missed,
        "sources": {name: record.model_dump() for name, record in sources.items()},
        "uncertain_below": card.abstention.below if card.abstention else None,
        "rejection": rejection.model_dump() if rejection else None,
        "bootstrap": {"replicates": bootstrap, "seed": seed},
        "figures": {name: record.model_dump(mode="json") for name, record in detail.items()},
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    from models.training.evaluation.tables import print_evaluation, print_intervals

    print_evaluation(result)
    print_intervals(detail, title=f"{card.name} version {card.version}, 95 % intervals")


def _find(
    detector: str, cells: "Sequence[LabelledCell]", *, quiet: bool
) -> "tuple[tuple[LabelledCell, ...], dict[str, dict[str, int]]]":
    from models.catalogue import DEFAULT_DETECTOR
    from models.detector import Detector
    from models.training.evaluation.found import keep_found
    from models.training.progress import track

    loaded = Detector.load(DEFAULT_DETECTOR if detector == "default" else detector)
    with track("detecting", quiet=quiet) as on_progress:
        return keep_found(loaded, cells, on_progress=on_progress)
