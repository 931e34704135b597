"""What a reader must know before trusting a report's numbers."""

from enum import StrEnum

from pydantic import Field

from service.contract.record import Record, Share


class QualityCode(StrEnum):
    """What a flag is about."""

    NO_LEUKOCYTES = "no_leukocytes"
    FEW_LEUKOCYTES = "few_leukocytes"
    SMUDGE_CELLS = "smudge_cells"
    COVERAGE_LOW = "coverage_low"
    TILES_FAILED = "tiles_failed"
    CELLS_UNREAD = "cells_unread"
    DOUBTFUL_OBJECTS = "doubtful_objects"
    UNCERTAIN_CELLS = "uncertain_cells"
    UNFAMILIAR_CELLS = "unfamiliar_cells"
    OUT_OF_FOCUS_CELLS = "out_of_focus_cells"
    EDGE_CELLS = "edge_cells"
    UNUSUAL_STAIN = "unusual_stain"
    WHOLE_SLIDE = "whole_slide"
    UPSAMPLED = "upsampled"
    REGROUPED = "regrouped"
    UNSUPPORTED_CLASSES = "unsupported_classes"


class Severity(StrEnum):
    """`warning`: numbers may mislead. `notice`: numbers stand, with this in mind."""

    WARNING = "warning"
    NOTICE = "notice"


class QualityFlag(Record):
    """One thing noticed, in words and numbers."""

    code: QualityCode = Field(description="What was noticed.")
    severity: Severity = Field(description="How much it matters.")
    message: str = Field(description="A sentence for a haematologist: value, limit, meaning.")
    value: float | None = Field(description="What was measured, in the limit's unit; or null.")
    limit: float | None = Field(description="Where the flag is raised; null: whenever it occurs.")


class Quality(Record):
    """Everything noticed, warnings first, and the shares behind it."""

    flags: tuple[QualityFlag, ...] = Field(description="Warnings first, then notices.")
    uncertain_below: Share = Field(
        description="A cell is uncertain when its most probable class has less than this."
    )
    uncertain_share: Share | None = Field(
        description="Uncertain cells, share of all cells; null without cells."
    )
    unfamiliar_share: Share | None = Field(
        default=None,
        description="Cells like none of the classes, share of all cells; null without cells or "
        "when not measured.",
    )
    out_of_focus_share: Share | None = Field(
        description="Cells out of focus, share of all cells; null without cells or when focus was "
        "not measured."
    )
    edge_cells: int = Field(ge=0, description="Cells cut by the slide's or the region's edge.")
    stain_distance: float | None = Field(
        ge=0,
        description="How far the cells' colours are from the nearest training source, standard "
        "deviations over its single cells; null when not measured: fewer than 20 cells, or a model "
        "without a reference.",
    )
