"""A confusion matrix as CSV: rows true (or first reader), columns predicted (or second)."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_matrix(path: Path, counts: NDArray[np.int64], codes: Sequence[str]) -> None:
    """Counts, shape (K, K), under their K codes, and each row's sum in the last column."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["", *codes, "cells"])
        for code, row in zip(codes, counts, strict=True):
            writer.writerow([code, *(int(n) for n in row), int(row.sum())])
