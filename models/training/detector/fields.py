"""Fields and cell crops on disk, as the detector's training and evaluation read them."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NO_LEUKOCYTE: Final = frozenset({"artefact"})
"""Labels of crops that are not used: a smear of stain and a smudge cell look alike."""


SAME_CELL: Final = 0.5
"""Share of their union above which two boxes are one cell labelled twice. In 1,216 fields seven
pairs share 0.54 to 0.71, each on one cell (BCD six, BCCD one); no other pair more than 0.2."""


@dataclass(frozen=True, slots=True)
class FieldRecord:
    """One field with its boxes.

    Attributes:
        path: relative to the data root.
        source: the laboratory's data set.
        split: "train" or "val".
        um_per_px: estimated from the red cells' size.
        boxes: leukocytes, each once, shape (n, 4), x0, y0, x1, y1 in field px.
    """

    path: str
    source: str
    split: str
    um_per_px: float
    boxes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One crop with a leukocyte at its centre; its neighbours are not labelled."""

    path: str
    source: str
    split: str
    um_per_px: float
    label: str


def load_fields(path: Path, split: str, *, leave_out: Sequence[str] = ()) -> list[FieldRecord]:
    """Fields of one split, in file order, without the sources left out."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        FieldRecord(
            path=entry["path"],
            source=entry["source"],
            split=entry["split"],
            um_per_px=float(entry["um_per_px"]),
            boxes=drop_doubles(
                np.array(
                    [box[1:] for box in entry["boxes"] if box[0] == "WBC"], dtype=np.float64
                ).reshape(-1, 4)
            ),
        )
        for entry in entries
        if entry["split"] == split and entry["source"] not in leave_out
    ]


def drop_doubles(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes without those that share more than `SAME_CELL` of their union with an earlier one.

    Args:
        boxes: x0, y0, x1, y1, shape (n, 4).
    """
    kept: list[NDArray[np.float64]] = []
    for box in boxes:
        areas = [float(np.prod(other[2:] - other[:2])) for other in (box, *kept)]
        for other, area in zip(kept, areas[1:], strict=True):
            sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
            shared = float(np.prod(np.maximum(sides, 0.0)))
            if shared > SAME_CELL * (areas[0] + area - shared):
                break
        else:
            kept.append(box)
    return np.array(kept, dtype=np.float64).reshape(-1, 4)


def load_cells(path: Path, split: str, *, leave_out: Sequence[str] = ()) -> list[CellRecord]:
    """Crops of one split that show a leukocyte, in file order, without the sources left out."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            CellRecord(
                row["path"], row["source"], row["split"], float(row["um_per_px"]), row["label"]
            )
            for row in csv.DictReader(stream)
            if row["split"] == split
            and row["label"] not in NO_LEUKOCYTE
            and row["source"] not in leave_out
        ]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB, shape (height, width, 3).

    Raises:
        OSError: the file is missing, truncated or no image.
    """
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def resample(
    rgb: NDArray[np.uint8],
    scale: float,
    *,
    box: tuple[float, float, float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Resample as `Slide.read` does: area-averaged down, interpolated up.

    Args:
        rgb: shape (height, width, 3).
        scale: output px per input px.
        box: x0, y0, x1, y1 of the part to take, input px, may be fractional; default all.
        size: (width, height) of the output; default the box times `scale`, rounded.

    Returns:
        Shape (height, width, 3) of the output.
    """
    x0, y0, x1, y1 = box or (0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0]))
    size = size or (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    kernel = Image.Resampling.BOX if scale <= 1.0 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(rgb).resize(size, kernel, box=(x0, y0, x1, y1)))
