"""Evaluation figures as a table for people."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

COLUMNS: Final = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "blast_auc",
    "atypical_auc",
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
        if figures["unreadable"]:
            console.print(f"unreadable files, {source}: {figures['unreadable']}")
    if result["left_out"]:
        console.print(f"left out, not one of the 15 codes: {result['left_out']}")
    console.print(f"unsupported classes: {', '.join(result['unsupported_classes']) or 'none'}")


def _show(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
