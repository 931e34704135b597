"""Training canvases: pieces of fields and crops side by side, with leukocytes pasted among them.

A canvas is a pure function of (seed, index): the same order and the same pixels on every run, and
after a resume.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from models.density import relative_density
from models.nets.heatmap import MEAN_DIAMETER_UM, OUTPUT_STRIDE
from models.training.detector.black import draw_black
from models.training.detector.fields import CellRecord, FieldRecord
from models.training.detector.pieces import (
    Piece,
    cut_piece,
    darken_cells,
    lay_over_itself,
    mirror_piece,
    paste_cells,
    strew_specks,
)
from models.training.detector.sprites import ImageStore, SourceImage
from models.training.detector.stain import StainJitter, expose, jitter_optics, jitter_stain

SHARES: Final = {
    "bccd": 0.13, "bcd": 0.13, "raabin": 0.14, "pig": 0.18, "chula": 0.18,
    "deepapl": 0.15, "pbc": 0.09,
}  # fmt: skip
"""How often a piece comes from each source; renormalised over those present."""

OFTENER: Final = {"NGS": 3, "EOS": 3, "BAS": 3, "NGB": 2}
"""How many times as often a crop of these classes is taken: lobed nuclei in pale cytoplasm are what
is missed first, and blasts are most of the crops."""

WIDE_UM: Final = 60.0
"""Pieces wider than this come from sources whose fields are that wide, where there are any."""
WIDE_SOURCES: Final = ("pig", "chula")
PASTE_CHANCE: Final = {"chula": 0.65, "pig": 0.35}
PASTE_CHANCE_ELSEWHERE: Final = 0.2
CUT_OUT_SHARE: Final = 0.4
"""Of the pasted cells that are cut out of fields rather than crops."""
CROPS_TRIED: Final = 100
"""Files may be broken and cells cut by their field's edge, at worst all of them."""
OVERLAP_CHANCE: Final = 0.2
"""Of laying a leukocyte-free piece over itself, shifted: red cells that overlap."""
SPECK_CHANCE: Final = 0.5
DARK_CHANCE: Final = 0.3
"""Of a piece with some red cells darker than the rest."""
RED_CELLS: Final = np.array([[0.2, 1.0, 0.2], [0.9, 1.0, 1.0]])
"""Lowest and highest red and blue density of a red cell over its green one; canvases are
photographed at any."""
GREEN_DENSITIES: Final = (0.12, 0.75)
"""The same of its green density, natural log."""
HEAT_SIGMA: Final = 0.13
"""Width of the target heat, in cell diameters."""

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One canvas.

    Attributes:
        density: what a detector is shown, shape (3, S, S), in units of a red cell.
        labels: leukocytes, shape (n, 4): x and y in px, diameter in µm, 1 if that is known.
        ignored: where nobody knows what there is, shape (S, S).
        um_per_px: nominal scale.
    """

    density: NDArray[np.float32]
    labels: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    um_per_px: float


class CanvasDataset(Dataset[tuple[Tensor, Tensor]]):
    """Canvases without end; an item is (density (3, S, S), target (4, S / 2, S / 2)).

    The target's planes: heat, weight of its loss, ln(diameter / mean), weight of its loss.

    Args:
        fields: training fields.
        cells: training crops.
        store: where their images come from.
        um_per_px: of a canvas.
        jitter: how far colours wander.
        seed: of everything random.
        canvas_px: S, a multiple of the network's stride.
    """

    def __init__(
        self,
        fields: Sequence[FieldRecord],
        cells: Sequence[CellRecord],
        store: ImageStore,
        *,
        um_per_px: float,
        jitter: StainJitter,
        seed: int,
        canvas_px: int = 128,
    ) -> None:
        self._store = store
        self._um_per_px = um_per_px
        self._jitter = jitter
        self._seed = seed
        self._canvas_px = canvas_px
        cells = [cell for cell in cells for _ in range(OFTENER.get(cell.label, 1))]
        self._cells = cells
        self._boxes = [(field, i) for field in fields for i in range(len(field.boxes))]
        self._records: dict[str, list[FieldRecord | CellRecord]] = {}
        for field in fields:
            self._records.setdefault(field.source, []).append(field)
        for cell in cells:
            self._records.setdefault(cell.source, []).append(cell)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        canvas = self.draw(index)
        target = draw_target(canvas.labels, canvas.ignored, self._um_per_px)
        return torch.from_numpy(canvas.density), torch.from_numpy(target)

    def draw(self, index: int) -> Canvas:
        """The canvas of that index."""
        rng = np.random.default_rng([self._seed, index])
        size = self._canvas_px
        canvas = Piece(
            np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool), np.empty((0, 4))
        )
        one_slide = rng.random() < 0.4
        for y0, y1 in _cuts(size, rng):
            for x0, x1 in _cuts(size, rng):
                piece = self._piece(y1 - y0, x1 - x0, rng)
                if not one_slide:
                    piece.density = jitter_stain(piece.density, self._jitter, rng)
                canvas.density[y0:y1, x0:x1] = piece.density
                canvas.ignored[y0:y1, x0:x1] = piece.ignored
                canvas.labels = np.vstack([canvas.labels, piece.labels + np.array([x0, y0, 0, 0])])
        if rng.random() < SPECK_CHANCE:
            strew_specks(canvas.density, self._um_per_px, rng)
        if one_slide:
            canvas.density = jitter_stain(canvas.density, self._jitter, rng)
        red_cell = np.exp(rng.uniform(*np.log(GREEN_DENSITIES))) * rng.uniform(*RED_CELLS)
        shade = draw_black(size, size, self._um_per_px, rng)
        rgb, glass = expose(
            jitter_optics(canvas.density * red_cell.astype(np.float32), rng), shade, rng
        )
        if shade is not None:
            hide_cells(canvas, shade > 0.5, self._um_per_px)
        error = rng.normal(0.0, self._jitter.red_cell) + rng.normal(0.0, self._jitter.channel, 3)
        taken_for = red_cell * np.exp(error)
        density = relative_density(rgb, glass, taken_for)
        return Canvas(density, canvas.labels, canvas.ignored, self._um_per_px)

    def _piece(self, height: int, width: int, rng: np.random.Generator) -> Piece:
        wide = max(height, width) * self._um_per_px > WIDE_UM
        sources = [s for s in self._records if s in WIDE_SOURCES] if wide else []
        sources = sources or list(self._records)
        shares = np.array([SHARES.get(source, 0.1) for source in sources])
        um_per_px = self._um_per_px * float(np.exp(np.clip(rng.normal(0.0, 0.15), -0.3, 0.3)))
        source, image = "", None
        while image is None:
            source = sources[int(rng.choice(len(sources), p=shares / shares.sum()))]
            image = self._store.load(_pick(self._records[source], rng))
        piece = cut_piece(image, height, width, um_per_px, self._um_per_px, rng)
        if not len(image.boxes) and rng.random() < OVERLAP_CHANCE:
            lay_over_itself(piece, rng)
        if rng.random() < DARK_CHANCE:
            darken_cells(piece, self._um_per_px, rng)
        mirror_piece(piece, rng)
        if (self._cells or self._boxes) and rng.random() < PASTE_CHANCE.get(
            source, PASTE_CHANCE_ELSEWHERE
        ):
            paste_cells(piece, self._crops(rng), um_per_px, self._um_per_px, rng)
        return piece

    def _crops(self, rng: np.random.Generator) -> Iterator[SourceImage]:
        """Crops, and cells cut out of fields, at random: more than are ever pasted at once."""
        for _ in range(CROPS_TRIED):
            if not self._cells or (self._boxes and rng.random() < CUT_OUT_SHARE):
                image = self._store.load_cell(*_pick(self._boxes, rng))
            else:
                image = self._store.load(_pick(self._cells, rng))
            if image is not None:
                yield image


def hide_cells(canvas: Piece, hidden: NDArray[np.bool_], um_per_px: float) -> None:
    """Take away the labels whose centre is hidden, in place; no loss is counted at their rest."""
    height, width = hidden.shape
    rows = np.clip(canvas.labels[:, 1].astype(int), 0, height - 1)
    cols = np.clip(canvas.labels[:, 0].astype(int), 0, width - 1)
    gone = hidden[rows, cols]
    for x, y, diameter_um, _ in canvas.labels[gone]:
        reach = 0.5 * diameter_um / um_per_px
        part = np.s_[
            max(0, int(y - reach)) : int(y + reach) + 1, max(0, int(x - reach)) : int(x + reach) + 1
        ]
        canvas.ignored[part] |= ~hidden[part]
    canvas.labels = canvas.labels[~gone]


def draw_target(
    labels: NDArray[np.float64], ignored: NDArray[np.bool_], um_per_px: float
) -> NDArray[np.float32]:
    """What the network should say of a canvas.

    Args:
        labels: shape (n, 4): x and y in px, diameter in µm, 1 if the diameter is known.
        ignored: shape (height, width), where no loss is counted.
        um_per_px: of the canvas.

    Returns:
        Shape (4, height / 2, width / 2): heat, its weight, ln(diameter / mean), its weight.
    """
    k = OUTPUT_STRIDE
    rows, cols = ignored.shape[0] // k, ignored.shape[1] // k
    target = np.zeros((4, rows, cols), np.float32)
    target[1] = ~ignored.reshape(rows, k, cols, k).any(axis=(1, 3))
    at_y, at_x = np.ogrid[:rows, :cols]
    for x, y, diameter_um, known in labels:
        u, v = x / k - 0.5, y / k - 0.5
        sigma = max(1.0, HEAT_SIGMA * diameter_um / um_per_px / k)
        narrow = -0.5 / (sigma * sigma)
        heat = np.exp(narrow * (at_y - v) ** 2) * np.exp(narrow * (at_x - u) ** 2)
        np.maximum(target[0], heat, out=target[0])
        row, col = min(max(round(v), 0), rows - 1), min(max(round(u), 0), cols - 1)
        target[0, row, col] = target[1, row, col] = 1.0
        centre = heat > 0.6
        target[2][centre] = np.log(diameter_um / MEAN_DIAMETER_UM)
        target[3][centre] = known
    return target


def _pick(records: Sequence[Record], rng: np.random.Generator) -> Record:
    return records[int(rng.integers(len(records)))]


def _cuts(size: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """One or two intervals that cover 0 to size."""
    cut = int(rng.integers(3 * size // 8, 5 * size // 8 + 1))
    return [(0, cut), (cut, size)] if rng.random() < 0.7 else [(0, size)]
