"""Evaluation figures as a table for people."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from models.training.evaluation.records import CellFigures, CrossvalFigures, Interval

COLUMNS: Final = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "blast_auc",
    "atypical_auc",
    "ece_uncalibrated",
    "ece",
)


def print_evaluation(result: dict[str, Any], *, console: Console | None = None) -> None:
    """Print what `smearscan train evaluate --json` would, one row per source."""
    console = console or Console()
    table = Table(title=f"{result['weights']} version {result['version']}")
    table.add_column("source")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    for source, figures in result["sources"].items():
        table.add_row(source, *(_show(figures[column]) for column in COLUMNS))
    console.print(table)
    for source, figures in result["sources"].items():
        recall = "  ".join(
            f"{code} {value:.2f} ({figures['support'][code]})"
            for code, value in figures["recall"].items()
        )
        console.print(f"recall by class (cells), {source}: {recall}", highlight=False)
        curve = "  ".join(
            f"≥{point['at_least']:g}: {point['coverage']:.2f} of cells,"
            f" {_show(point['accuracy'])} right"
            for point in figures["risk_coverage"]
        )
        console.print(f"labels by their probability, {source}: {curve}", highlight=False)
        if figures["unreadable"]:
            console.print(f"unreadable files, {source}: {figures['unreadable']}")
    if result["left_out"]:
        console.print(f"left out, not one of the 15 codes: {result['left_out']}")
    for source, labels in (result["missed"] or {}).items():
        console.print(f"left out, not found by the detector, {source}: {labels}")
    if (limit := result["uncertain_below"]) is not None:
        console.print(f"uncertain: a label with less than {limit:g}", highlight=False)
    if result["rejection"]:
        _print_rejection(result["rejection"], console)
    console.print(f"unsupported classes: {', '.join(result['unsupported_classes']) or 'none'}")


def _print_rejection(rejection: dict[str, Any], console: Console) -> None:
    shares = ", ".join(f"{name} {share:.3f}" for name, share in rejection["rejected"].items())
    console.print(
        f"unfamiliar, of cells labelled as leukocytes: {shares or 'none'}", highlight=False
    )
    for kind, found in rejection["strangers"].items():
        console.print(
            f"unfamiliar, {kind}: {found['rejected']} of {found['as_leukocytes']} labelled as"
            f" leukocytes ({found['cells']} cells), AUROC {_show(found['auroc'])}",
            highlight=False,
        )


def _show(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def print_crossval(figures: CrossvalFigures, *, console: Console | None = None) -> None:
    """Print a cross-validation's scalars, one row per source and one for all."""
    sets = {**figures.sources, "pooled": figures.pooled}
    title = f"Cross-validation, folds: {figures.folds}; 95 % intervals"
    print_intervals(sets, title=title, console=console)


def print_intervals(
    sets: Mapping[str, CellFigures], *, title: str, console: Console | None = None
) -> None:
    """Print figures with their bootstrap intervals, and sensitivity at fixed specificity."""
    console = console or Console()
    table = Table(title=title)
    table.add_column("")
    for column in ("balanced accuracy", "macro-F1", "blast AUC", "atypical AUC"):
        table.add_column(column, justify="right")
    for name, one in sets.items():
        values = (one.balanced_accuracy, one.macro_f1, one.blast_auc, one.atypical_auc)
        table.add_row(name, *(_show_interval(v.value, v.ci95) for v in values))
    console.print(table)
    for name, one in sets.items():
        drawn = " and ".join(f"{n} {kind}" for kind, n in one.units.items())
        console.print(f"{name}: {one.n} cells, the bootstrap draws {drawn}", highlight=False)
        for point in one.cuts:
            rate = point.cut.sensitivity
            if rate.value is not None and point.cut.specificity.value is not None:
                console.print(
                    f"  {point.group}: sensitivity {_show_interval(rate.value, rate.ci95)} of"
                    f" {rate.total} cells at specificity {point.cut.asked}",
                    highlight=False,
                    markup=False,
                )


def _show_interval(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")
