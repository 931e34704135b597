"""A cell as one flat row: the columns CSV and Parquet share."""

from typing import Final

from models.taxonomy import CODES
from service.contract.cell import Cell

FIXED_COLUMNS: Final = (
    "id",
    "x_px",
    "y_px",
    "diameter_um",
    "detection_score",
    "label",
    "p_blast",
    "p_atypical",
)
PROBABILITY_COLUMNS: Final = tuple(f"p_{code}" for code in CODES)
COLUMNS: Final = (*FIXED_COLUMNS, *PROBABILITY_COLUMNS, "flags")
"""Units and meaning are those of `Cell`. All 15 classes, in taxonomy order."""


def flatten_cell(cell: Cell) -> tuple[object, ...]:
    """The values of a cell in the order of COLUMNS.

    The probability of a class that the model does not support is None; `flags` is a tuple.
    """
    return (
        cell.id,
        cell.x_px,
        cell.y_px,
        cell.diameter_um,
        cell.detection_score,
        cell.label.value,
        cell.p_blast,
        cell.p_atypical,
        *(cell.probabilities.get(code) for code in CODES),
        tuple(flag.value for flag in cell.flags),
    )
