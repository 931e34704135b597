"""Blast percentages of the stitched areas beside the patients' signed cells, as a Markdown table.

    python -m benchmarks.mosaics ../shared/data

Each area is read as a pyramid at the scale that `mosaics.csv` states and goes through the whole of
`smearscan scan`. Signed cells are those of `cells.csv`: chosen by class, not counted.
"""

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from models.allocator import keep_freed_memory
from models.taxonomy import CODES, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.failure import AnalysisError
from service.contract.report import Report
from service.contract.scan import ScanParameters
from service.contract.settings import AnalysisSettings
from worker.demo import write_image_pyramid
from worker.inference import LocalPredictor
from worker.pipeline import scan_slide

HEADER = (
    "| mosaic | cells | leukocytes | blasts at the threshold | corrected share | sum of P(blast)"
    " | labelled PMO | labelled KSC | signed leukocytes: MYO, PMO |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main(root: Path) -> None:
    """Scan every area and print its row."""
    keep_freed_memory()
    signed: dict[str, Counter[str]] = defaultdict(Counter)
    with (root / "cells.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["source"] == "deepapl":
                signed[row["patient"]][row["label"]] += 1
    predictor = LocalPredictor.load(device="cpu")
    print(HEADER, flush=True)
    with (root / "mosaics.csv").open(newline="") as stream, TemporaryDirectory() as scratch:
        for row in csv.DictReader(stream):
            slide = Path(scratch) / f"{row['patient']}.tiff"
            pixels = np.asarray(Image.open(root / row["path"]).convert("RGB"))
            write_image_pyramid(slide, pixels, um_per_px=None)
            try:
                report = scan_slide(
                    slide,
                    predictor,
                    scan_id=row["patient"],
                    parameters=ScanParameters(um_per_px=float(row["um_per_px"])),
                    settings=AnalysisSettings(),
                ).report
            except AnalysisError as err:
                print(f"| {row['patient']} | {err.code.value} |", flush=True)
                continue
            print(describe(row["patient"], report, signed[row["patient"]]), flush=True)


def describe(patient: str, report: Report, signed: Counter[str]) -> str:
    """One row of the table."""
    blast = report.blast
    share = corrected = expected = "–"
    if blast.count is not None:
        share = str(blast.count)
    if blast.percent is not None and blast.ci95 is not None:
        share += f": {blast.percent:.1f} % ({blast.ci95[0]:.1f}–{blast.ci95[1]:.1f})"
    if blast.adjusted is not None:
        low, high = blast.adjusted.ci95
        corrected = f"{blast.adjusted.percent:.0f} % ({low:.0f}–{high:.0f})"
    if blast.expected_count is not None:
        expected = f"{blast.expected_count:.1f}"
    leukocytes = sum(signed[label] for label in CODES if label not in NOT_IN_DIFFERENTIAL)
    return (
        f"| {patient} | {report.n_cells} | {report.n_leukocytes} | {share} | {corrected}"
        f" | {expected} | {report.counts[CellClass.PMO]} | {report.counts[CellClass.KSC]}"
        f" | {leukocytes}: {signed['MYO']}, {signed['PMO']} |"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
