"""What was planted on a demo slide: the answer a scan of it is measured against."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.taxonomy import CellClass

TRUTH_SUFFIX = ".truth.json"


class Zone(StrEnum):
    """A part of the smear, from the drop to the tail."""

    THICK = "thick"
    MONOLAYER = "monolayer"
    FEATHERED = "feathered"
    GLASS = "glass"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlantedCell(_Record):
    """One leukocyte, erythroblast or smudge cell."""

    x_px: float = Field(description="Centre, level-0 frame.")
    y_px: float = Field(description="Centre, level-0 frame.")
    code: CellClass = Field(description="What was drawn.")
    diameter_um: float = Field(description="Mean diameter of the whole cell, micrometres.")
    zone: Zone = Field(description="Part of the smear its centre lies in.")
    touching: bool = Field(description="Planted on purpose against another of this list.")


class TruthRegion(_Record):
    """One part of the smear as a polygon; all regions together tile the slide."""

    kind: Zone
    polygon: tuple[tuple[float, float], ...] = Field(
        description="Corners (x, y) in the level-0 frame, not closed."
    )


class DemoTruth(_Record):
    """Everything that went into a demo slide."""

    schema_version: Literal[1] = 1
    seed: int
    mm2: float = Field(description="Area asked for; width and height say what was drawn.")
    width: int = Field(description="Level-0 px.")
    height: int = Field(description="Level-0 px.")
    um_per_px: float
    stain: str
    blast_fraction: float = Field(description="As asked for; the cells say what was planted.")
    leukocytes: tuple[PlantedCell, ...] = Field(
        description="All planted cells, EBO and KSC included, sorted by y, then x."
    )
    regions: tuple[TruthRegion, ...]

    def cells_in(self, zone: Zone) -> tuple[PlantedCell, ...]:
        """The planted cells whose centre lies in a part of the smear."""
        return tuple(cell for cell in self.leukocytes if cell.zone is zone)


def truth_path(slide: Path) -> Path:
    """Where the truth of a demo slide lies: `smear.tiff` → `smear.truth.json`."""
    return slide.with_suffix(TRUTH_SUFFIX)


def save_truth(truth: DemoTruth, slide: Path) -> Path:
    """Write the truth beside its slide and return the path."""
    path = truth_path(slide)
    path.write_text(truth.model_dump_json(indent=1), encoding="utf-8")
    return path


def load_truth(path: Path) -> DemoTruth:
    """Read the truth of a demo slide.

    Args:
        path: of the truth file, or of the slide it lies beside.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a truth file of this schema version.
    """
    if not path.name.endswith(TRUTH_SUFFIX):
        path = truth_path(path)
    return DemoTruth.model_validate_json(path.read_bytes())
