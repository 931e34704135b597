"""An archive rescan: many slides, one set of parameters, no slide that can stop the others."""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, Field, model_validator

from service.contract.failure import Failure
from service.contract.record import Record, ScanId, Sha256
from service.contract.scan import Progress, ScanParameters
from service.contract.submission import Label

MAX_SOURCES: Final = 100
"""Roots and, likewise, patterns that one batch may name."""

Place = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A path, or a pattern of paths, on the service's side; no control characters."""

SOURCES: Final = ("roots", "globs", "manifest", "manifest_uri")


def has_wildcards(text: str) -> bool:
    """Whether a path is a pattern of paths."""
    return any(character in text for character in "*?[")


class BatchRequest(Record):
    """A request to scan many slides that the service can reach by itself."""

    name: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="What people call the batch.",
    )
    roots: tuple[Place, ...] = Field(
        default=(),
        max_length=MAX_SOURCES,
        description="Directories under the installation's slide roots, absolute; all slides in and "
        "below them.",
    )
    globs: tuple[Place, ...] = Field(
        default=(),
        max_length=MAX_SOURCES,
        description="Patterns of absolute paths: `*` and `?` within a name, `**` for any number of "
        "directories, e.g. `/archive/2024/**/*.svs`.",
    )
    manifest: str | None = Field(
        default=None,
        min_length=1,
        description="CSV text with a header: `slide_uri`, and optionally `um_per_px` and "
        "`accession`.",
    )
    manifest_uri: Place | None = Field(
        default=None, description="A file under the slide roots with such CSV text, UTF-8."
    )
    parameters: ScanParameters = Field(
        default=ScanParameters(),
        description="Of every scan; a manifest's `um_per_px` goes before the one given here.",
    )
    force: bool = Field(
        default=False,
        description="Scan anew what this version of the model has scanned with these parameters. "
        "False: such slides are skipped.",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not any(getattr(self, source) for source in SOURCES):
            raise ValueError(f"give at least one of {', '.join(SOURCES)}")
        return self


class BatchState(StrEnum):
    """Where a batch stands. `cancelled` and `done` are never left."""

    LISTING = "listing"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing is begun any more."""
        return self in {BatchState.CANCELLED, BatchState.DONE}


class ItemState(StrEnum):
    """Where a slide of a batch stands. The last four are never left."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self not in {ItemState.PENDING, ItemState.SUBMITTED}


class BatchSources(Record):
    """Where a batch's slides come from."""

    roots: tuple[str, ...] = Field(description="As asked.")
    globs: tuple[str, ...] = Field(description="As asked.")
    manifest_uri: str | None = Field(description="As asked.")
    manifest_sha256: Sha256 | None = Field(
        description="Of the CSV text that was sent, in UTF-8; null if none was."
    )


class BatchCounts(Record):
    """Slides of a batch by state."""

    pending: int = Field(default=0, ge=0, description="Not yet asked for.")
    submitted: int = Field(default=0, ge=0, description="Their scans wait or run.")
    succeeded: int = Field(default=0, ge=0, description="Scanned by this batch.")
    skipped: int = Field(
        default=0,
        ge=0,
        description="Had a result of this version of the model with these parameters.",
    )
    failed: int = Field(default=0, ge=0, description="Not scanned; each item says why.")
    cancelled: int = Field(default=0, ge=0, description="Given up, with the batch or by itself.")

    @property
    def total(self) -> int:
        """Slides found so far."""
        return self.ended + self.pending + self.submitted

    @property
    def ended(self) -> int:
        """Slides with which nothing more will happen."""
        return self.succeeded + self.skipped + self.failed + self.cancelled


class Batch(Record):
    """A batch, as stored and as sent."""

    batch_id: ScanId = Field(description="Name of the batch.")
    name: str = Field(description="As given.")
    state: BatchState = Field(
        description="`listing`: slides are still looked for, those found are already scanned; "
        "`running`: all are found; `paused`: no further scan begins."
    )
    sources: BatchSources = Field(description="Where the slides come from.")
    parameters: ScanParameters = Field(description="Of every scan.")
    force: bool = Field(description="As given.")
    counts: BatchCounts = Field(description="Slides by state.")
    progress: Progress = Field(
        description="Slides with which nothing more will happen, of those found."
    )
    is_listed: bool = Field(description="Whether all slides have been found.")
    passed_over: int = Field(
        ge=0,
        description="Files and directories under the sources that are hidden, or no slides by "
        "their names. Known when all slides are found.",
    )
    message: str | None = Field(description="What a person should know, e.g. why it was paused.")
    submitted_at: AwareDatetime = Field(description="When it was asked for, with zone.")
    finished_at: AwareDatetime | None = Field(
        description="When its last scan was over; null before, even when cancelled."
    )


class BatchPage(Record):
    """A part of a list of batches, newest first."""

    batches: tuple[Batch, ...] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the following part; null at the end."
    )


class BatchItem(Record):
    """One slide of a batch."""

    number: int = Field(ge=1, description="In the order in which slides were found.")
    slide_uri: str = Field(description="The slide, or what should have been one.")
    um_per_px: float | None = Field(description="From the manifest; null: the batch's, if any.")
    accession: Label | None = Field(description="From the manifest.")
    state: ItemState = Field(description="Where it stands.")
    scan_id: ScanId | None = Field(
        description="Its scan; that of an earlier request when `skipped`; null before, or if it "
        "never came to one."
    )
    failure: Failure | None = Field(description="Why it failed, else null.")


class BatchItemPage(Record):
    """A part of a batch's slides, in the order in which they were found."""

    items: tuple[BatchItem, ...] = Field(description="By number.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the following part; null at the end."
    )
