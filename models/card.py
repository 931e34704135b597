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


class OperatingPoint(_Record):
    """A cut on P_blast or P_atypical: a cell at or above `threshold` is counted."""

    threshold: float = Field(ge=0, le=1, description="Probability, after calibration.")
    sensitivity: float = Field(ge=0, le=1)
    specificity: float = Field(ge=0, le=1)
    basis: str = Field(description="Which cells it was measured on, and how it was chosen.")


class TrainingSource(_Record):
    """One data set a model was trained on."""

    source: str
    cells: int = Field(ge=0)
    licence: str
    citation: str


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
    ece: float | None = Field(description="Expected calibration error of the top class, 15 bins.")
    recall: dict[CellClass, float] = Field(description="Per class with a cell here.")
    support: dict[CellClass, int] = Field(description="Cells per class.")


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
