"""One cell of a report."""

from enum import StrEnum

from pydantic import Field

from models.taxonomy import CellClass
from service.contract.record import Record, Share


class CellFlag(StrEnum):
    """Why a cell deserves a second look. Flagged cells are counted like all others."""

    EDGE = "edge"
    OUT_OF_FOCUS = "out_of_focus"
    UNCERTAIN = "uncertain"
    UNFAMILIAR = "unfamiliar"


class Cell(Record):
    """A detected cell and what the classifier makes of it.

    Probabilities are rounded to 6 decimals and everything else is derived from the rounded values,
    so a reader of the CSV arrives at the report's counts.
    """

    id: int = Field(ge=1, description="Number in the scan: cells sorted by y, then x.")
    x_px: float = Field(description="Centre, level-0 frame, px, rounded to 2 decimals.")
    y_px: float = Field(description="Centre, level-0 frame, px, rounded to 2 decimals.")
    diameter_um: float = Field(gt=0, description="As the detector sees it, µm, 2 decimals.")
    detection_score: Share = Field(description="The detector's confidence, 0–1, 4 decimals.")
    label: CellClass = Field(description="The most probable supported class.")
    p_blast: Share | None = Field(
        description="Sum of the probabilities of the report's blast classes; null when the model "
        "supports none of them."
    )
    p_atypical: Share | None = Field(
        description="Sum of the probabilities of the report's atypical classes; null when the "
        "model supports none of them."
    )
    probabilities: dict[CellClass, Share] = Field(
        description="Per supported class, in taxonomy order. A class that the model does not "
        "support has no key: its probability is unknown, not zero."
    )
    flags: tuple[CellFlag, ...] = Field(description="Why the cell deserves a second look.")

    @property
    def top_probability(self) -> float:
        """Probability of the label."""
        return self.probabilities[self.label]


class DoubtfulObject(Record):
    """What may be a leukocyte and is not counted as one: the detector was not sure enough."""

    id: int = Field(ge=1, description="Number among these of its scan, the likeliest first.")
    x_px: float = Field(description="Centre, level-0 frame, px, rounded to 2 decimals.")
    y_px: float = Field(description="Centre, level-0 frame, px, rounded to 2 decimals.")
    diameter_um: float = Field(gt=0, description="As the detector sees it, µm, 2 decimals.")
    detection_score: Share = Field(description="The detector's confidence, 0–1, 4 decimals.")
