"""What the api asks of the viewer, over a socket that nobody else reaches.

The api names a slide by its path, because it alone knows scans; the viewer opens it, because it
alone may die of it. None of this is part of the public interface.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from models.taxonomy import CellClass
from service.contract.record import Record, Sha256

TILE_PX: Final = 512
"""Width of a whole tile without overlap."""
OVERLAP_PX: Final = 1
"""Px that a tile shares with each neighbour."""
MAX_LEVEL: Final = 21
"""Full resolution of a slide of 2,000,000 px, the widest that is read."""

LevelNumber = Annotated[int, Field(ge=0, le=MAX_LEVEL)]
TileNumber = Annotated[int, Field(ge=0, lt=1 << 31)]
SlidePx = Annotated[float, Field(ge=-10_000, le=2_010_000)]


class SlideReference(Record):
    """A slide as the viewer is told of it."""

    path: str = Field(min_length=1, max_length=4096, description="Of the file, absolute.")
    sha256: Sha256 = Field(description="Of its bytes, as they were when it was taken.")
    size_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Its size then: a file of another size is another slide and is not shown.",
    )
    um_per_px: float | None = Field(
        default=None, ge=0.02, le=10, description="As for the scan: overrides the metadata."
    )


class DescriptorRequest(Record):
    """The slide's Deep Zoom descriptor."""

    slide: SlideReference


class TileRequest(Record):
    """One tile of a Deep Zoom pyramid."""

    slide: SlideReference
    level: LevelNumber
    column: TileNumber
    row: TileNumber


class PatchRequest(Record):
    """The square around a cell, as the classifier sees it: a JPEG."""

    slide: SlideReference
    x_px: SlidePx = Field(description="Centre, level-0 frame, px.")
    y_px: SlidePx = Field(description="Centre, level-0 frame, px.")
    patch_um: float = Field(default=29.0, gt=1, le=200, description="Width, µm.")
    patch_px: int = Field(default=400, ge=16, le=1024, description="Width, px.")


class SaliencyRequest(PatchRequest):
    """A patch in grey with what the classifier looked at in colour: a PNG."""

    model: str | None = Field(default=None, description="Name of the weights; null: the default.")
    target: CellClass | None = Field(
        default=None, description="Class whose loss is differentiated; null: the likeliest."
    )


class ViewingCode(StrEnum):
    """Why the viewer does not answer with pixels."""

    OUT_OF_RANGE = "out_of_range"
    SLIDE_GONE = "slide_gone"
    SLIDE_REFUSED = "slide_refused"
    SLIDE_UNREADABLE = "slide_unreadable"
    PIXELS_UNREADABLE = "pixels_unreadable"
    TOO_COSTLY = "too_costly"
    INVALID = "invalid"
    BUSY = "busy"
    DECODER_FAILED = "decoder_failed"
    MODEL_UNAVAILABLE = "model_unavailable"
    INTERNAL = "internal"


STATUS: Final[dict[ViewingCode, int]] = {
    ViewingCode.OUT_OF_RANGE: 404,
    ViewingCode.SLIDE_GONE: 410,
    ViewingCode.SLIDE_REFUSED: 403,
    ViewingCode.SLIDE_UNREADABLE: 422,
    ViewingCode.PIXELS_UNREADABLE: 422,
    ViewingCode.TOO_COSTLY: 422,
    ViewingCode.INVALID: 400,
    ViewingCode.BUSY: 503,
    ViewingCode.DECODER_FAILED: 503,
    ViewingCode.MODEL_UNAVAILABLE: 503,
    ViewingCode.INTERNAL: 500,
}


class ViewingProblem(Record):
    """Why the viewer does not answer with pixels, in the body of any status from 400 up."""

    code: ViewingCode = Field(description="Why, as one of a fixed list.")
    message: str = Field(description="Value, limit and remedy. No paths.")
    retry_after_s: int | None = Field(
        default=None, ge=1, description="When the same request may succeed, s; null: never."
    )
