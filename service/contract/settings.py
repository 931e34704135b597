"""What an installation may set about an analysis. Built once at the root and passed in."""

from pydantic import Field

from service.contract.record import Record, Share


class QualityLimits(Record):
    """Where a report's quality flags are raised.

    House values, chosen to make a reader look, not to decide: none is a published cut-off.
    """

    few_leukocytes: int = Field(
        default=100, ge=1, description="Fewer leukocytes than this is a warning, leukocytes."
    )
    some_leukocytes: int = Field(
        default=200,
        ge=1,
        description="Fewer than this is a notice, leukocytes. 200 is the usual manual count.",
    )
    smudge_per_100: float = Field(
        default=20, ge=0, description="More smudge cells (KSC) is a warning, per 100 leukocytes."
    )
    min_coverage: Share = Field(
        default=0.95, description="Less of the region read is a warning, share of its area."
    )
    doubtful_share: Share = Field(
        default=0.1,
        description="More objects that the detector was unsure of is a warning, share of these and "
        "the cells, if the share's 95 % interval lies above it.",
    )
    uncertain_share: Share = Field(
        default=0.2, description="More uncertain cells is a warning, share of all cells."
    )
    unfamiliar_share: Share = Field(
        default=0.25, description="More unfamiliar cells is a warning, share of all cells."
    )
    out_of_focus_share: Share = Field(
        default=0.2, description="More cells out of focus is a warning, share of all cells."
    )
    edge_share: Share = Field(
        default=0.2,
        description="More cells cut by the slide's or the region's edge is a warning, share of all "
        "cells.",
    )
    stain_distance: float = Field(
        default=3.5,
        ge=0,
        description="Colours further from every training source is a warning, standard deviations "
        "over its single cells.",
    )


class AnalysisSettings(Record):
    """How an analysis behaves, beyond what a request chooses."""

    max_tiles_failed_share: Share = Field(
        default=0.05,
        description="Failure budget: with more of the region's tiles unreadable the scan fails "
        "with `tile_failures_exceeded`, share of tiles.",
    )
    uncertain_below: Share | None = Field(
        default=None,
        description="A cell whose most probable class has less than this probability is flagged "
        "`uncertain`; null: the limit measured for the classifier, from its card.",
    )
    blurred_above_um: float = Field(
        default=0.5,
        gt=0,
        description="A cell whose borders are blurred by more than this is flagged `out_of_focus`, "
        "standard deviation of the blur, µm. A sharp scan has 0.1–0.3.",
    )
    quality: QualityLimits = Field(
        default=QualityLimits(), description="Where quality flags are raised."
    )
