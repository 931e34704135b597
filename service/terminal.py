"""What a person at a terminal sees: progress on stderr, a summary on stdout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from models.taxonomy import NAMES
from service.contract.quality import Severity
from service.contract.report import GroupCount, Interval, Report
from service.contract.scan import Stage

OnProgress = Callable[[Stage, int, int], None]
"""Told (stage, units done, units in all)."""

UNITS: Final = {
    Stage.MONOLAYER: "tiles",
    Stage.DETECTING: "tiles",
    Stage.CLASSIFYING: "cells",
}


class _Rate(TextColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit")
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.1f} {unit}/s" if rate and unit else "", style="dim")


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(""),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[OnProgress]:
    """One bar a stage; yields the callback that moves them."""
    with _progress(quiet=quiet) as bars:
        tasks: dict[Stage, TaskID] = {}

        def on_progress(stage: Stage, done: int, total: int) -> None:
            for earlier in tasks.keys() - {stage}:
                task = bars.tasks[tasks[earlier]]
                bars.update(task.id, total=max(task.completed, 1), completed=max(task.completed, 1))
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=None, unit=UNITS.get(stage))
            if total:
                bars.update(tasks[stage], completed=done, total=total)

        yield on_progress
        for task_id in tasks.values():
            task = bars.tasks[task_id]
            bars.update(task_id, total=max(task.completed, 1), completed=max(task.completed, 1))


@contextmanager
def track(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """One bar; yields `on_progress(done, total)`."""
    with _progress(quiet=quiet) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_summary(report: Report, full: str, *, console: Console | None = None) -> None:
    """The numbers a reader looks for first, with their intervals and warnings.

    Args:
        report: of a scan.
        full: where the whole of it is, a path or a URL.
        console: to print on; None: stdout.
    """
    console = console or Console()
    console.print(f"[bold]{report.n_leukocytes} leukocytes[/] on {report.region.area_mm2:.2f} mm²")
    for group in (report.blast, report.atypical):
        console.print(_describe_group(group), highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("class", "", "cells", "%", "95 % interval"):
        table.add_column(column, justify="left" if column in ("class", "") else "right")
    for code, share in report.differential.items():
        if share is None:
            table.add_row(code, NAMES[code], "–", "not supported", "")
        elif report.counts[code]:
            table.add_row(
                code,
                NAMES[code],
                str(report.counts[code]),
                f"{share.percent:.1f}",
                _interval(share.ci95),
            )
    console.print(table)
    for code, per_100 in report.per_100_leukocytes.items():
        value = "–" if per_100 is None else f"{per_100:.1f}"
        console.print(f"{NAMES[code]}s: {report.counts[code]}, {value} per 100 leukocytes")
    for flag in report.quality.flags:
        style = "yellow" if flag.severity is Severity.WARNING else "dim"
        console.print(f"[{style}]{flag.severity}:[/] {flag.message}", highlight=False)
    console.print(f"{report.statement} Full report: {escape(full)}", highlight=False)


def _describe_group(group: GroupCount) -> str:
    if group.count is None:
        return f"{group.name}: not supported by this model"
    if group.percent is None:
        return f"{group.name}: {group.count}"
    return (
        f"[bold]{group.name}: {group.count}[/], {group.percent:.1f} %"
        f" (95 % interval {_interval(group.ci95)} %), expected {group.expected_count:.1f}"
    )


def _interval(ci95: Interval | None) -> str:
    return "–" if ci95 is None else f"{ci95[0]:.1f}–{ci95[1]:.1f}"
