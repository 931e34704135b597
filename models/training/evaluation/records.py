"""What an evaluation writes to `figures.json`: every scalar, per source and pooled."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.taxonomy import CellClass

SCHEMA_VERSION: Final = 1

Interval = tuple[float, float]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Record):
    """One figure. None: undefined for want of cells."""

    value: float | None = Field(description="Over all held-out cells of all folds together.")
    ci95: Interval | None = Field(
        description="Bootstrap percentiles; None for want of two units, or not computed."
    )
    undefined_replicates: int = Field(
        default=0, ge=0, description="Bootstrap replicates that left the figure undefined."
    )
    fold_mean: float | None = Field(description="Mean over the folds that give the figure.")
    fold_sd: float | None = Field(description="Standard deviation of the same, n − 1.")
    folds: tuple[float | None, ...] = Field(description="Each fold's own.")


class Proportion(_Record):
    """A count of a total; the interval is exact (Clopper–Pearson), cells taken as independent."""

    count: int = Field(ge=0)
    total: int = Field(ge=0)
    value: float | None
    ci95: Interval | None


class FixedSpecificity(_Record):
    """Sensitivity at the lowest threshold of at least this specificity, on the same cells."""

    asked: float = Field(ge=0, le=1, description="Specificity asked for.")
    threshold: float | None = Field(
        description="A cell at or above it is called; None: none is, every cut has too many false"
        " positives."
    )
    sensitivity: Proportion
    specificity: Proportion = Field(description="Reached on these cells.")


class DetectionLimit(_Record):
    """Limit of blank and of detection (CLSI EP17-A2) of blasts in a count."""

    sensitivity: float = Field(ge=0, le=1)
    specificity: float = Field(ge=0, le=1)
    cells: int = Field(ge=1, description="Cells counted.")
    blank: int = Field(ge=0, description="Limit of blank, cells called blast.")
    fraction: float | None = Field(
        description="Limit of detection, true share of blasts; None: no share is detected."
    )


class LimitOfDetection(_Record):
    """At a threshold's point estimates and at the lower ends of their exact intervals."""

    point: DetectionLimit
    unfavourable: DetectionLimit


class Cut(_Record):
    """An operating point of one group, and what it can detect if that group is the blasts."""

    group: Literal["blast", "atypical"]
    cut: FixedSpecificity
    detection: LimitOfDetection | None


class Rate(_Record):
    """Precision, sensitivity or specificity of a class."""

    fold_mean: float | None
    fold_sd: float | None
    folds: tuple[float | None, ...] = Field(description="None: the fold does not define it.")
    pooled: Proportion


class ClassRow(_Record):
    """One row of Table 1 (Matek et al. 2019)."""

    code: CellClass
    images: int = Field(ge=0)
    precision: Rate
    sensitivity: Rate
    specificity: Rate


class ReliabilityBin(_Record):
    """Cells whose probability lies in one of equally wide bins."""

    low: float
    high: float
    mean_probability: float
    observed: Proportion = Field(description="How many of them were what was said.")


class Calibration(_Record):
    """Whether probabilities are frequencies."""

    ece: Figure = Field(description="Expected calibration error of the top class, 15 bins.")
    brier: Figure = Field(description="Mean squared distance to the true class's unit vector, 0–2.")
    log_loss: Figure = Field(
        description="Mean −ln p of the true class, p at least 1e-7 (what predictions.csv resolves);"
        " without cells whose class their network could not name."
    )
    log_loss_cells: int = Field(ge=0, description="Cells in the log loss.")
    top_class: tuple[ReliabilityBin, ...]
    blast: tuple[ReliabilityBin, ...]


class BackgroundControl(_Record):
    """The same networks and cells, each cell hidden in its patch."""

    blast_auc: Figure
    atypical_auc: Figure
    balanced_accuracy: Figure
    chance_balanced_accuracy: float | None = Field(description="One over the classes averaged.")


class CellFigures(_Record):
    """Everything about one source's cells, or about all."""

    n: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    patients: int = Field(ge=0, description="Known ones.")
    units: dict[str, int] = Field(description="What the bootstrap draws, number by kind.")
    support: dict[CellClass, int] = Field(description="Cells per class.")
    averaged: tuple[CellClass, ...] = Field(
        description="Classes in the means over classes: with a cell here and, in some fold, in"
        " training."
    )
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    blast_auc: Figure
    atypical_auc: Figure
    calibration: Calibration
    cuts: tuple[Cut, ...]
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...] = Field(
        description="Cells: row is the true class, column the predicted, in taxonomy order."
    )
    background: BackgroundControl | None


class CrossvalFigures(_Record):
    """`figures.json`."""

    schema_version: int = SCHEMA_VERSION
    folds: int = Field(ge=1)
    seed: int = Field(description="Of the bootstrap.")
    replicates: int = Field(ge=1)
    recipes: tuple[str, ...] = Field(description="Names in recipe.json, each once.")
    digests: dict[str, tuple[str, ...]] = Field(description="Digests in data.json, each once.")
    unsupported: dict[int, tuple[CellClass, ...]] = Field(
        description="Classes without a training cell, per fold."
    )
    pooled: CellFigures
    sources: dict[str, CellFigures]
    statement: str = "Research use only. Not for diagnostic use."
