"""What `prepare` did, as JSON for machines and tables for people."""

from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from models.training.data.findings import FileFindings
from models.training.data.prepare import DuplicatePair, Prepared

SHOWN: Final = 10
"""Names of each kind that are printed; the record beside the manifest lists all."""


def describe_prepared(prepared: Prepared) -> dict[str, Any]:
    """Everything but the cells themselves, which the manifest holds."""
    return {
        "cells": len(prepared.cells),
        "found": prepared.found,
        "expected": prepared.expected,
        "left_out": prepared.left_out,
        "folds": asdict(prepared.folds),
        "files": asdict(prepared.findings),
        "duplicates": prepared.duplicates and asdict(prepared.duplicates),
    }


def print_prepared(prepared: Prepared, *, console: Console | None = None) -> None:
    """Print classes with their folds, then what should be looked at."""
    console = console or Console()
    _print_classes(prepared, console)
    console.print(
        f"{prepared.folds.groups} groups, the largest of {prepared.folds.largest_group} cells"
    )
    for code, groups in prepared.folds.too_few.items():
        console.print(f"{code}: {groups} groups are fewer than the folds; some folds hold none")
    if prepared.left_out:
        listed = ", ".join(f"{label} {n}" for label, n in sorted(prepared.left_out.items()))
        console.print(f"kept out, not one of the 15 codes: {listed}")
    print_findings(prepared.findings, console=console)
    if prepared.duplicates is None:
        console.print("near duplicates were not looked for")
        return
    console.print(f"{len(prepared.duplicates.pairs)} pairs of near duplicates share a fold")
    conflicts = prepared.duplicates.label_conflicts
    _print_names("one cell, two labels", [_show(pair) for pair in conflicts], console)
    leaks = prepared.duplicates.split_conflicts
    _print_names("one cell, two splits (a leak)", [_show(pair) for pair in leaks], console)


def print_findings(findings: FileFindings, *, console: Console) -> None:
    """Print what is wrong with the files: how many, and the first of each kind."""
    _print_names("missing", list(findings.missing), console)
    _print_names("unreadable", list(findings.unreadable), console)
    sizes = [f"{name} ({width} × {height} px)" for name, width, height in findings.wrong_size]
    _print_names("of another size", sizes, console)
    labels = [f"{name} (label {label})" for name, label in findings.mislabelled]
    _print_names("in the folder of another class", labels, console)
    _print_names("in no annotation, not used", list(findings.extra), console)


def _print_classes(prepared: Prepared, console: Console) -> None:
    table = Table()
    table.add_column("class")
    table.add_column("found", justify="right")
    if prepared.expected:
        table.add_column("expected", justify="right")
    folds = len(next(iter(prepared.folds.counts.values())))
    for fold in range(1, folds + 1):
        table.add_column(f"fold {fold}", justify="right")
    for code, found in prepared.found.items():
        expected = [str(prepared.expected[code])] if prepared.expected else []
        counts = prepared.folds.counts.get(code, (0,) * folds)
        table.add_row(code, str(found), *expected, *map(str, counts))
    totals = [sum(column) for column in zip(*prepared.folds.counts.values(), strict=True)]
    expected = [str(sum(prepared.expected.values()))] if prepared.expected else []
    table.add_section()
    table.add_row("all", str(len(prepared.cells)), *expected, *map(str, totals))
    console.print(table)


def _print_names(what: str, names: list[str], console: Console) -> None:
    if not names:
        return
    console.print(f"{what}: {len(names)}")
    for name in names[:SHOWN]:
        console.print(f"  {name}", highlight=False, markup=False, soft_wrap=True)
    if len(names) > SHOWN:
        console.print(f"  … and {len(names) - SHOWN} more")


def _show(pair: DuplicatePair) -> str:
    sides = zip((pair.first, pair.second), pair.labels, pair.splits, strict=True)
    named = " | ".join(f"{name} {label} {split}".rstrip() for name, label, split in sides)
    return f"{named} (correlation {pair.correlation:.3f}, {pair.shift_um:.1f} µm apart)"
