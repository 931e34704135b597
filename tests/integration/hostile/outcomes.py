"""What a scan of a damaged or odd file may come to."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from service.contract.failure import FailureCode


class Report(StrEnum):
    """A scan that ends with a report."""

    WHOLE = "whole"
    """Nothing that was needed is missing, and every planted cell was found."""
    HOLES = "holes"
    """What could not be read is counted: coverage, failed tiles or unread cells."""


Outcome = Report | FailureCode

Defect = Callable[[Path], object]
"""Damages the sound slide that lies at the path, or puts something else in its place."""

Cases = dict[Defect, Outcome]

WHOLE, HOLES = Report.WHOLE, Report.HOLES
UNSUPPORTED = FailureCode.UNSUPPORTED_FORMAT
UNREADABLE = FailureCode.SLIDE_UNREADABLE
TOO_LARGE = FailureCode.SLIDE_TOO_LARGE
NO_RESOLUTION = FailureCode.RESOLUTION_MISSING
BAD_RESOLUTION = FailureCode.RESOLUTION_UNSUPPORTED
NO_MONOLAYER = FailureCode.NO_MONOLAYER
TOO_MANY_HOLES = FailureCode.TILE_FAILURES_EXCEEDED
