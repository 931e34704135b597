"""What is asked of a scan, and where it stands."""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from models.taxonomy import ATYPICAL, BLAST, CODES, CellClass
from service.contract.failure import Failure
from service.contract.record import Percent, Record, ScanId, Sha256


def _in_taxonomy_order(classes: tuple[CellClass, ...]) -> tuple[CellClass, ...]:
    return tuple(code for code in CODES if code in classes)


ClassSet = Annotated[tuple[CellClass, ...], AfterValidator(_in_taxonomy_order)]
"""Classes, each once, in taxonomy order whatever the order given."""


class CellGroup(Record):
    """Classes that are counted together; P(group) is the sum of their probabilities."""

    name: str = Field(
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="What the report calls the group, e.g. 'blasts'; no control characters.",
    )
    classes: ClassSet = Field(min_length=1, description="The group's classes, in taxonomy order.")


BLASTS: Final = CellGroup(name="blasts", classes=tuple(BLAST))
"""Myeloblast and monoblast (Matek et al. 2019)."""

ATYPICALS: Final = CellGroup(name="atypical cells", classes=tuple(ATYPICAL))
"""Cells absent from healthy blood (Matek et al. 2019)."""


class RegionChoice(StrEnum):
    """Which part of a slide is counted."""

    MONOLAYER = "monolayer"
    ALL = "all"


class ScanParameters(Record):
    """What a request may choose. Everything else is fixed by settings and model cards."""

    um_per_px: float | None = Field(
        default=None,
        ge=0.02,
        le=10,
        description="Micrometres per level-0 pixel; overrides the slide's metadata. Null: from the "
        "metadata, which must then have it.",
    )
    region: RegionChoice = Field(
        default=RegionChoice.MONOLAYER,
        description="`monolayer`: only where cells lie side by side in focus. `all`: the whole "
        "slide, thick and blurred parts included.",
    )
    model: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="Name of the classifier weights. Null: the installation's default.",
    )
    blasts: CellGroup = Field(
        default=BLASTS,
        description="Classes counted as blasts; for acute promyelocytic leukaemia, for example, "
        "promyelocytes may be counted as blast equivalents.",
    )
    atypical: CellGroup = Field(
        default=ATYPICALS, description="Classes counted as absent from healthy blood."
    )


class Priority(StrEnum):
    """Which queue a scan waits in. Workers empty the first before they look at the second."""

    INTERACTIVE = "interactive"
    ARCHIVE = "archive"


class GroupSummary(Record):
    """A group's numbers, as in the report."""

    count: int | None = Field(ge=0, description="Cells at or above the threshold.")
    percent: Percent | None = Field(description="Of the leukocytes.")
    ci95: tuple[Percent, Percent] | None = Field(description="Exact binomial 95 % interval, %.")


class ScanSummary(Record):
    """What a work list shows of a finished scan; the report has the rest."""

    n_leukocytes: int = Field(ge=0, description="The denominator of the percentages.")
    blast: GroupSummary = Field(description="As in the report.")
    atypical: GroupSummary = Field(description="As in the report.")
    warnings: tuple[str, ...] = Field(description="Codes of the report's quality warnings.")


class ScanState(StrEnum):
    """Where a scan stands. A terminal state is never left."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self in {ScanState.SUCCEEDED, ScanState.FAILED, ScanState.CANCELLED}


class Stage(StrEnum):
    """What a running scan is doing, in this order."""

    OPENING = "opening"
    MONOLAYER = "monolayer"
    DETECTING = "detecting"
    CLASSIFYING = "classifying"
    REPORTING = "reporting"


class Progress(Record):
    """How far a stage has come, in units of that stage (tiles, cells or files)."""

    done: int = Field(ge=0, description="Units finished.")
    total: int = Field(ge=0, description="Units in all; may grow while the stage runs.")

    @model_validator(mode="after")
    def _done_within_total(self) -> Self:
        if self.done > self.total:
            raise ValueError(f"{self.done} units done of {self.total}")
        return self


class Scan(Record):
    """One analysis of one slide, as stored and as sent."""

    scan_id: ScanId = Field(description="Name of the scan.")
    state: ScanState = Field(description="Where the scan stands.")
    stage: Stage | None = Field(default=None, description="Set while running, else null.")
    progress: Progress | None = Field(
        default=None, description="Of the stage; null where it has no measure."
    )
    queue_position: int | None = Field(
        default=None,
        ge=1,
        description="1 is next. Set while queued and when one scan is asked for, else null.",
    )
    tries: int = Field(
        default=0, ge=0, description="How often the scan failed and was, or may be, tried again."
    )
    seen_at: AwareDatetime | None = Field(
        default=None, description="Last sign of life of the worker; null before the first."
    )
    failure: Failure | None = Field(
        default=None,
        description="Why it failed; while queued again, why the last try failed; else null.",
    )
    summary: ScanSummary | None = Field(default=None, description="Set when succeeded, else null.")
    parameters: ScanParameters = Field(description="What was asked.")
    priority: Priority = Field(description="The queue.")
    slide_sha256: Sha256 | None = Field(
        default=None, description="Of the slide's bytes; null until a referenced slide was read."
    )
    slide_bytes: int | None = Field(default=None, ge=0, description="Size of the slide.")
    accession: str | None = Field(default=None, description="As given.")
    specimen: str | None = Field(default=None, description="As given.")
    batch_id: str | None = Field(default=None, description="The batch it belongs to, or null.")
    submitted_at: AwareDatetime = Field(description="When the scan was asked for, with zone.")
    started_at: AwareDatetime | None = Field(
        default=None, description="When a worker first took it up; null before."
    )
    finished_at: AwareDatetime | None = Field(
        default=None, description="When it reached a terminal state; null before."
    )

    @model_validator(mode="after")
    def _state_and_details_agree(self) -> Self:
        if (self.stage is not None) != (self.state is ScanState.RUNNING):
            raise ValueError(f"a scan has a stage exactly while running, not when {self.state}")
        if self.progress is not None and self.stage is None:
            raise ValueError("progress without a stage")
        if self.state is ScanState.FAILED and self.failure is None:
            raise ValueError("a failed scan has a failure")
        if self.failure is not None and self.state not in {ScanState.FAILED, ScanState.QUEUED}:
            raise ValueError(f"no failure when {self.state}")
        if (self.finished_at is not None) != self.state.is_terminal:
            raise ValueError(f"a scan has an end exactly when it is over, not when {self.state}")
        return self


class ScanPage(Record):
    """A part of a list of scans, newest first."""

    scans: tuple[Scan, ...] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the following part; null at the end."
    )
