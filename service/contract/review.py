"""What a person says of a cell, kept beside what the model says."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from models.taxonomy import CellClass
from service.contract.cell import Cell, DoubtfulObject
from service.contract.record import Record


class OtherLabel(StrEnum):
    """What a detected object can be besides the 15 classes."""

    OTHER = "other"
    ARTEFACT = "artefact"


ReviewLabel = CellClass | OtherLabel
"""The 15 classes, `other` (a cell of none of them) and `artefact` (no leukocyte at all)."""


class ReviewRequest(Record):
    """A person's label."""

    label: ReviewLabel = Field(description="A class code, `other` or `artefact`.")
    comment: str | None = Field(
        default=None,
        max_length=2000,
        pattern=r"^[^\x00]*$",
        description="Why, or null; without NUL characters.",
    )


class Review(Record):
    """A person's label, as stored. The latest of a cell holds; earlier ones stay in the store."""

    label: ReviewLabel = Field(description="A class code, `other` or `artefact`.")
    comment: str | None = Field(description="Why, or null.")
    reviewer: str = Field(description="Id of the API key it came with.")
    at: AwareDatetime = Field(description="When.")


class ReviewedCell(Record):
    """A cell, and what a person says of it."""

    cell: Cell = Field(description="What the model says.")
    review: Review | None = Field(description="What a person says; null: nobody has.")


class DoubtfulPage(Record):
    """A part of what may be leukocytes and was not counted."""

    objects: tuple[DoubtfulObject, ...] = Field(description="The likeliest first.")
    total: int = Field(ge=0, description="Of them in all.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the following part; null at the end."
    )


class CellPage(Record):
    """A part of a scan's cells."""

    cells: tuple[ReviewedCell, ...] = Field(description="In the order asked for.")
    total: int = Field(ge=0, description="Cells that the query finds in all.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the following part; null at the end."
    )
