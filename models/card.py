"""What a classifier is, was trained on, and can be trusted with: `card.json` beside its weights."""

from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.catalogue import CARD_FILE
from models.errors import PatchShapeError, WeightsCorrupt
from models.taxonomy import CODES, CellClass

STATEMENT: Final = "Research use only. Not for diagnostic use."


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PatientRate(_Record):
    """A rate as it varies from patient to patient: a Beta distribution, and what it rests on."""

    alpha: float = Field(gt=0)
    beta: float = Field(gt=0)
    patients: int = Field(ge=1)
    cells: int = Field(ge=1)


class GroupErrors(_Record):
    """How often an operating point is right among cells that are labelled as leukocytes."""

    sensitivity: PatientRate
    specificity: PatientRate = Field(description="Among all cells outside the group.")
    blank_specificity: PatientRate = Field(
        description="Among those outside the atypical classes: what a blood without the group has."
    )


class OperatingPoint(_Record):
    """A cut on P_blast or P_atypical: a cell at or above `threshold` is counted."""

    threshold: float = Field(ge=0, le=1, description="Probability, after calibration.")
    sensitivity: float = Field(ge=0, le=1)
    specificity: float = Field(ge=0, le=1)
    basis: str = Field(description="Which cells it was measured on, and how it was chosen.")
    errors: GroupErrors | None = Field(
        default=None,
        description="Over patients, each judged by a threshold found without him; None: not known.",
    )


class Abstention(_Record):
    """When a cell's label is too unsure to be read without a look."""

    below: float = Field(ge=0, le=1, description="A label with less probability is uncertain.")
    basis: str = Field(description="How it was chosen.")


class StrangerFigures(_Record):
    """How well cells of none of the 15 classes are told from ordinary ones of their source."""

    cells: int = Field(ge=1, description="Evaluated.")
    as_leukocytes: int = Field(ge=0, description="Of them, labelled as a leukocyte.")
    rejected: int = Field(ge=0, description="Of these, above the limit.")
    auroc: float | None = Field(description="Of these against cells labelled as leukocytes.")


class RejectionFigures(_Record):
    """What a limit on unfamiliarity does to the cells that are labelled as leukocytes."""

    rejected: dict[str, float] = Field(description="Share above the limit, by source.")
    strangers: dict[str, StrangerFigures] = Field(
        description="Cells of none of the classes, by the label they have."
    )


class Rejection(RejectionFigures):
    """When a cell is like none of the classes."""

    score: Literal["entropy"] = Field(
        description="−Σ p ln p of the 15 probabilities, nats: higher is less familiar."
    )
    above: float = Field(ge=0, description="A cell with a higher score is unfamiliar.")
    basis: str = Field(description="How score and limit were chosen.")


Tones = tuple[float, float, float, float, float, float]


class StainReference(_Record):
    """Colours of a source's training cells: ln(grey level + 1) of nuclei, then of the gaps, RGB."""

    mean: Tones
    spread: Tones = Field(description="Standard deviation over cells.")


class TrainingSource(_Record):
    """One data set a model was trained on."""

    source: str
    cells: int = Field(ge=0)
    licence: str
    citation: str
    stain: StainReference | None = Field(
        default=None, description="What a slide's colours are compared with; None: not measured."
    )


class SourceEvaluation(_Record):
    """Figures on the held-out cells of one source. None: undefined for want of cells."""

    n: int = Field(ge=0, description="Cells evaluated.")
    unreadable: int = Field(ge=0, description="Cells left out because their file cannot be read.")
    accuracy: float | None
    balanced_accuracy: float | None = Field(
        description="Mean recall over supported classes that have a cell here."
    )
    macro_f1: float | None = Field(description="Mean F1 over supported classes with a cell here.")
    blast_auc: float | None = Field(description="Area under the ROC curve of P_blast.")
    atypical_auc: float | None = Field(description="Area under the ROC curve of P_atypical.")
    ece: float | None = Field(
        description="Expected calibration error of the top class, 15 bins, cross-fitted."
    )
    ece_uncalibrated: float | None = Field(default=None, description="The same at temperature 1.")
    intervals: dict[str, tuple[float, float]] = Field(
        default={}, description="95 % by figure: bootstrap over patients where known, else cells."
    )
    cuts: tuple["CutFigures", ...] = Field(
        default=(), description="Sensitivity at fixed specificity, on the same cells."
    )
    risk_coverage: tuple["RiskPoint", ...] = Field(
        default=(), description="What labels are worth where the unsure ones are left out."
    )
    recall: dict[CellClass, float] = Field(description="Per class with a cell here.")
    support: dict[CellClass, int] = Field(description="Cells per class.")


class CutFigures(_Record):
    """The lowest threshold that reaches a specificity on these cells."""

    group: Literal["blast", "atypical"]
    specificity: float = Field(ge=0, le=1, description="Asked for.")
    sensitivity: float = Field(ge=0, le=1)
    ci95: tuple[float, float] = Field(description="Exact, cells taken as independent.")


class RiskPoint(_Record):
    """Of the cells whose label has at least a probability."""

    at_least: float = Field(ge=0, le=1)
    coverage: float = Field(ge=0, le=1, description="Their share of all cells.")
    accuracy: float | None = Field(description="Share of them whose label is right; None of none.")


class ClassifierCard(_Record):
    """A served classifier."""

    name: str
    version: str
    network: str = Field(description="A name in models.nets.registry.NETWORKS.")
    classes: tuple[CellClass, ...] = Field(description="Order of the network's outputs.")
    unsupported_classes: tuple[CellClass, ...] = Field(
        description="Classes without training data: masked out, reported as unsupported, never 0 %."
    )
    patch_px: Literal[400] = 400
    patch_um: float = Field(default=29.0, gt=0, description="Width of a patch, µm.")
    input_px: int = Field(gt=0, description="Width the network sees; patches are reduced to it.")
    max_um_per_px: float = Field(
        default=0.25, gt=0, description="Coarsest base resolution of a slide that is accepted."
    )
    mean: tuple[float, float, float] = Field(description="RGB, 0–1, subtracted.")
    std: tuple[float, float, float] = Field(description="RGB, 0–1, divided by.")
    temperature: float = Field(gt=0, description="Logits are divided by it before the softmax.")
    calibration: str = Field(description="How the temperature was found, and on what.")
    blast: OperatingPoint
    atypical: OperatingPoint
    abstention: Abstention | None = Field(default=None, description="None: not measured.")
    rejection: Rejection | None = Field(default=None, description="None: not measured.")
    training: tuple[TrainingSource, ...]
    recipe: str = Field(description="Recipe name and what it did.")
    evaluation: dict[str, SourceEvaluation] = Field(description="Per source, never pooled.")
    limitations: tuple[str, ...]
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of weights.safetensors.")
    statement: str = STATEMENT

    @model_validator(mode="after")
    def _classes_are_the_taxonomy(self) -> Self:
        if self.classes != CODES:
            raise ValueError("classes must be the 15 codes in taxonomy order")
        return self


def load_card(directory: Path) -> ClassifierCard:
    """Read `card.json`.

    Raises:
        WeightsCorrupt: it is not a classifier's card.
    """
    try:
        return ClassifierCard.model_validate_json((directory / CARD_FILE).read_bytes())
    except (ValidationError, OSError) as err:
        raise WeightsCorrupt(
            f"card.json of weights {directory.name!r} is not valid: {err}"
        ) from err


def check_patches(patches: NDArray[np.uint8], card: ClassifierCard) -> None:
    """Refuse an array that is not uint8 of shape (N, patch_px, patch_px, 3).

    Raises:
        PatchShapeError: with what it is and what the card asks for.
    """
    side = card.patch_px
    if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[1:] != (side, side, 3):
        raise PatchShapeError(
            f"patches are {patches.dtype} {patches.shape}, the card asks for uint8"
            f" (N, {side}, {side}, 3)"
        )
