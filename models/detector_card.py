"""What a detector is and how to feed it: `card.json` beside its weights."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.catalogue import CARD_FILE
from models.errors import PatchShapeError, WeightsCorrupt


class DetectorCard(BaseModel):
    """What a detector's weights expect, were trained on and reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    network: str = Field(description="Class in models.detector.")
    width: int = Field(gt=0, description="Channels of the heat map's network at half resolution.")
    um_per_px: float = Field(gt=0, description="Scale of the input, micrometres per pixel.")
    stride_px: int = Field(gt=0, description="Shifts by multiples of this move the output exactly.")
    margin_px: int = Field(gt=0, description="Tile overlap beyond which no pixel changes a peak.")
    candidate: float = Field(gt=0, lt=1, description="Least heat of a peak that is verified.")
    verdict_weight: float = Field(
        gt=0, description="Of the verifier's logit beside the heat's, in the score."
    )
    threshold: float = Field(gt=0, lt=1, description="Least score of a leukocyte.")
    doubtful: float = Field(
        gt=0, lt=1, description="Least score of what may be one and is not counted as one."
    )
    touching: float = Field(
        gt=0, lt=1, description="Least score of a leukocyte that touches one of `threshold`."
    )
    touching_um: tuple[float, float] = Field(
        description="Least and greatest distance of the centres of leukocytes that touch."
    )
    min_distance_um: float = Field(
        gt=0, description="Of two peaks nearer than this the better survives."
    )
    normalisation: str = Field(description="What is done to the pixels before the network.")
    training_data: tuple[str, ...] = Field(description="Each source with its licence.")
    evaluation: dict[str, dict[str, float]] = Field(description="Figures by source, never pooled.")
    sha256: str = Field(description="Of the weights file, hex.")
    statement: str = Field(description="What the weights may be used for.")


def load_detector_card(directory: Path) -> DetectorCard:
    """Read `card.json`.

    Raises:
        WeightsCorrupt: it is not a detector's card.
    """
    try:
        return DetectorCard.model_validate_json((directory / CARD_FILE).read_bytes())
    except (ValidationError, OSError) as err:
        raise WeightsCorrupt(f"the card of weights {directory.name!r} is not a detector's") from err


def check_fields(
    fields: NDArray[np.uint8],
    background: NDArray[np.floating],
    red_cell: NDArray[np.floating],
) -> None:
    """Refuse what a detector cannot look at; the arguments are those of `Detector.detect`.

    Raises:
        PatchShapeError: fields are not RGB bytes, the background is not one colour, or the red
            cell's density is not three numbers above 0.
    """
    if fields.ndim != 4 or fields.shape[3] != 3 or fields.dtype != np.uint8:
        raise PatchShapeError(
            f"fields of shape {fields.shape} and type {fields.dtype}; "
            "want (N, height, width, 3) of uint8"
        )
    if np.shape(background) != (3,):
        raise PatchShapeError(f"a background of shape {np.shape(background)}; want (3,)")
    if np.shape(red_cell) != (3,) or not (np.asarray(red_cell) > 0.0).all():
        raise PatchShapeError(f"a red cell of density {red_cell}; want three above 0")
