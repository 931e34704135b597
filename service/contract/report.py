"""The result of one scan: `report.json`.

A class that the model does not support is never reported as zero. In `counts` and `differential`
its code is present with the value null; a cell's `probabilities` have no such key; and
`model.unsupported_classes` lists it. CSV and Parquet leave its column empty, HTML writes "not
supported". A percentage without a denominator (no leukocytes) is null too, but inside an entry:
`{"percent": null, "ci95": null}`.

Percentages are shares of `n_leukocytes`: cells labelled neither erythroblast (EBO) nor smudge cell
(KSC). Every 95 % interval is the exact binomial one (Clopper & Pearson, Biometrika 26, 404–413,
1934). It covers the chance of which cells were on the glass, not the classifier's own errors; those
are in `blast.adjusted` and `atypical.adjusted`.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from models.taxonomy import CODES, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.quality import Quality
from service.contract.record import Percent, Record, ScanId, Seconds, Sha256, Share
from service.contract.scan import ClassSet, RegionChoice, Stage

SCHEMA_VERSION: Final = "1.3"
"""Major: a reader must change. Minor: a field was added."""

STATEMENT: Final = "Research use only. Not for diagnostic use."


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"an interval from {ends[0]} to {ends[1]}")
    return ends


Interval = Annotated[tuple[Percent, Percent], AfterValidator(_ordered)]
"""Lower and upper end, %."""


class SlideRecord(Record):
    """The slide, without its name: a file name may hold a patient's."""

    sha256: Sha256 = Field(description="Of the file's bytes.")
    format: str = Field(description="The sniffed format, e.g. 'aperio'.")
    width: int = Field(gt=0, description="Of level 0, px.")
    height: int = Field(gt=0, description="Of level 0, px.")
    um_per_px: float = Field(gt=0, description="Micrometres per level-0 px.")
    um_per_px_source: str = Field(
        description="'request', or the metadata it was read from; never guessed."
    )
    reader: str = Field(description="Library and version that read it.")
    icc_profile: bool = Field(description="Whether the file carries one. It is not applied.")


class ModelThresholds(Record):
    """Where P(group) counts a cell as positive, from the classifier's card."""

    blast: Share = Field(description="A cell with p_blast at or above this counts as a blast.")
    atypical: Share = Field(description="A cell with p_atypical at or above this is atypical.")


class RateOverPatients(Record):
    """A sensitivity or specificity, as it varies from patient to patient: a Beta distribution."""

    alpha: float = Field(gt=0, description="First parameter; alpha / (alpha + beta) is the mean.")
    beta: float = Field(gt=0, description="Second parameter.")


class GroupErrors(Record):
    """How often a group's threshold is right, on validation patients, each judged as unseen."""

    sensitivity: RateOverPatients = Field(description="Share of the group's cells that it counts.")
    specificity: RateOverPatients = Field(
        description="Share of other leukocytes that it leaves out, atypical ones among them."
    )
    blank_specificity: RateOverPatients = Field(
        description="The same among leukocytes outside the atypical classes: a blood without any."
    )


class ClassifierRecord(Record):
    """The classifier that was used."""

    name: str = Field(description="Of the weights.")
    version: str = Field(description="Of the weights.")
    sha256: Sha256 = Field(description="Of the weights file.")
    network: str = Field(description="Architecture, e.g. 'resnext50_32x4d'.")
    patch_um: float = Field(gt=0, description="Edge of the square patch it sees, µm.")
    input_px: int = Field(gt=0, description="Edge of its input, px.")
    unsupported_classes: ClassSet = Field(
        description="Classes it was never shown and cannot recognise, in taxonomy order."
    )
    thresholds: ModelThresholds = Field(description="Its operating points.")
    uncertain_below: Share = Field(
        default=0.5, description="A label with less probability than this is flagged `uncertain`."
    )
    unfamiliar_above: float | None = Field(
        default=None,
        ge=0,
        description="A cell whose probabilities have more entropy than this, nats, is flagged "
        "`unfamiliar`; null: not measured, no cell is.",
    )
    blast_errors: GroupErrors | None = Field(
        default=None, description="Of the blast threshold; null: not measured."
    )
    atypical_errors: GroupErrors | None = Field(
        default=None, description="Of the atypical threshold; null: not measured."
    )

    @property
    def um_per_px(self) -> float:
        """Micrometres per pixel of its input."""
        return self.patch_um / self.input_px


class DetectorRecord(Record):
    """The cell detector that was used."""

    name: str = Field(description="Of the weights.")
    version: str = Field(description="Of the weights.")
    sha256: Sha256 = Field(description="Of the weights file.")


class RegionRecord(Record):
    """Where cells were counted."""

    choice: RegionChoice = Field(description="What was asked for.")
    area_mm2: float = Field(ge=0, description="Of the chosen part of the slide, mm².")
    coverage: Share = Field(description="Of that area, the share that could be read.")
    tiles: int = Field(ge=0, description="Tiles the area was read in.")
    tiles_failed: int = Field(ge=0, description="Tiles that could not be read and were skipped.")
    cells_unread: int = Field(
        default=0,
        ge=0,
        description="Cells found whose patch could not be read: in no other number here.",
    )
    doubtful_objects: int | None = Field(
        default=None,
        ge=0,
        description="Objects that may be leukocytes too, but that the detector was not sure enough "
        "to count: in no other number here; null: not known (reports before 1.3).",
    )

    @model_validator(mode="after")
    def _failed_within_tiles(self) -> Self:
        if self.tiles_failed > self.tiles:
            raise ValueError(f"{self.tiles_failed} of {self.tiles} tiles failed")
        return self


class Proportion(Record):
    """A class's part of the leukocytes."""

    percent: Percent | None = Field(
        description="100 · count / n_leukocytes; null without leukocytes."
    )
    ci95: Interval | None = Field(
        description="Exact binomial 95 % interval, %; null without leukocytes."
    )


class AdjustedShare(Record):
    """A group's true share, with the classifier's own errors taken into account.

    Bayesian form of the Rogan–Gladen estimator: every share equally likely before, sensitivity and
    specificity distributed as over the validation patients (`model.blast_errors`). Those patients'
    cells were chosen by class, so the mix of other cells was another than on a smear.
    """

    percent: Percent = Field(description="The most probable true share of the leukocytes, %.")
    ci95: Interval = Field(
        description="Shortest interval that holds 95 % of the probability, %; from 0: the count "
        "cannot be told from none."
    )
    limit_of_blank: int = Field(
        ge=0,
        description="As many leukocytes may be counted on a smear of mature cells alone, without a "
        "single one of the group (95th percentile over patients).",
    )
    limit_of_detection: Percent | None = Field(
        description="Least true share that is counted above the limit of blank in 95 of 100 "
        "patients, for this number of leukocytes, %; null: not even 100 %."
    )


class GroupCount(Record):
    """How many leukocytes belong to a group of classes (blasts, atypical cells).

    Only leukocytes count: cells labelled neither EBO nor KSC, each once, whatever its flags. So
    `count` never exceeds `n_leukocytes`, and `percent` is their ratio.
    """

    name: str = Field(description="The group's name, as asked for.")
    classes: ClassSet = Field(description="The group's classes.")
    unsupported_classes: ClassSet = Field(
        description="Those of them the model cannot recognise: such cells are not in any number "
        "here. If these are all, count, percent, ci95 and expected_count are null."
    )
    threshold: Share = Field(description="A leukocyte with P(group) at or above this is counted.")
    n_leukocytes: int = Field(ge=0, description="The denominator, as in the report.")
    count: int | None = Field(ge=0, description="Leukocytes at or above the threshold.")
    percent: Percent | None = Field(
        description="100 · count / n_leukocytes; null without leukocytes."
    )
    ci95: Interval | None = Field(description="Exact binomial 95 % interval of percent, %.")
    expected_count: float | None = Field(
        ge=0,
        description="Sum of P(group) over the n_leukocytes leukocytes, 4 decimals: a count that "
        "needs no threshold. Far from `count`, the model is unsure.",
    )
    adjusted: AdjustedShare | None = Field(
        default=None,
        description="`percent`, corrected for the classifier's errors; null without leukocytes, "
        "for a grouping of one's own, or when the errors are not known.",
    )
    outside_denominator: int | None = Field(
        ge=0,
        description="Further cells at or above the threshold that are labelled EBO or KSC: not "
        "leukocytes, in none of the numbers above.",
    )

    def is_positive(self, probability: float | None) -> bool:
        """Whether a cell with this P(group) reaches the threshold."""
        return probability is not None and probability >= self.threshold


class Versions(Record):
    """What computed the report."""

    smearscan: str = Field(description="This software.")
    python: str = Field(description="The interpreter.")
    libraries: dict[str, str] = Field(
        default={}, description="Libraries that influence numbers, e.g. torch, by name."
    )


class Report(Record):
    """Everything a scan found, cell by cell lists aside."""

    schema_version: Literal["1.2", "1.3"] = Field(
        default=SCHEMA_VERSION, description="Of this structure."
    )
    statement: Literal["Research use only. Not for diagnostic use."] = Field(
        default=STATEMENT, description="Holds for every number here."
    )
    scan_id: ScanId = Field(description="Name of the scan.")
    analysed_at: AwareDatetime = Field(description="When the analysis ended, with zone.")
    slide: SlideRecord = Field(description="What was analysed.")
    model: ClassifierRecord = Field(description="What named the cells.")
    detector: DetectorRecord = Field(description="What found the cells.")
    region: RegionRecord = Field(
        description="The part that was counted, and how much of it could be read."
    )
    n_cells: int = Field(ge=0, description="Cells found, of every class.")
    n_leukocytes: int = Field(
        ge=0,
        description="Cells labelled neither EBO nor KSC: the denominator of every percentage.",
    )
    counts: dict[CellClass, int | None] = Field(
        description="Cells by label, all 15 codes in taxonomy order; null: the model does not "
        "support the class, so how many there are is unknown."
    )
    differential: dict[CellClass, Proportion | None] = Field(
        description="Per leukocyte class (all but EBO and KSC); null: not supported."
    )
    per_100_leukocytes: dict[CellClass, float | None] = Field(
        description="EBO and KSC per 100 leukocytes, 4 decimals, may exceed 100; null without "
        "leukocytes, or not supported (then its count is null too)."
    )
    blast: GroupCount = Field(description="Blasts: count at the card's threshold of P_blast.")
    atypical: GroupCount = Field(
        description="Atypical cells: count at the card's threshold of P_atypical."
    )
    quality: Quality = Field(description="What to know before trusting the numbers.")
    timings: dict[Stage, Seconds] = Field(
        description="Wall time per stage, s. Stages may overlap. Writing the files is not in it."
    )
    versions: Versions = Field(description="The software behind the numbers.")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if tuple(self.counts) != CODES:
            raise ValueError("counts need all 15 codes, in taxonomy order")
        if set(self.differential) != set(CODES) - NOT_IN_DIFFERENTIAL:
            raise ValueError("the differential needs every code but EBO and KSC")
        if set(self.per_100_leukocytes) != NOT_IN_DIFFERENTIAL:
            raise ValueError("per_100_leukocytes needs EBO and KSC")
        for code, count in self.counts.items():
            if (count is None) != (code in self.model.unsupported_classes):
                raise ValueError(f"the count of {code} must be null exactly when not supported")
        if sum(count or 0 for count in self.counts.values()) != self.n_cells:
            raise ValueError("the counts do not add up to n_cells")
        outside = sum(self.counts[code] or 0 for code in NOT_IN_DIFFERENTIAL)
        if self.n_leukocytes != self.n_cells - outside:
            raise ValueError("n_leukocytes is not n_cells without EBO and KSC")
        if {self.blast.n_leukocytes, self.atypical.n_leukocytes} != {self.n_leukocytes}:
            raise ValueError("blast and atypical need the report's denominator")
        return self
