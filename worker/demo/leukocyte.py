"""Draws one leukocyte."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.taxonomy import CellClass
from worker.demo.morphology import MORPHOLOGY, Morphology
from worker.demo.stain import Stain, quantise
from worker.demo.texture import Field, draw_noise, scatter_grains, soft_step

EDGE_UM = 0.09
"""Softness of every outline."""
BLUR_UM = 0.085
"""Standard deviation of the optics' point spread, about λ / (2 NA) / 2.35 at 520 nm and NA 1.3."""
REACH = 0.72
"""Half the sprite's width in cell diameters; outlines stay inside."""
AUER_ROD_CHANCE = 0.12


def draw_leukocyte(
    code: CellClass, diameter_um: float, rng: np.random.Generator, stain: Stain, um_per_px: float
) -> NDArray[np.uint16]:
    """The optical density of one cell on clear glass.

    Args:
        code: its class.
        diameter_um: mean diameter of the whole cell.
        rng: everything that differs between two cells of a class.
        stain: colours.
        um_per_px: micrometres per px of the sprite.

    Returns:
        Shape (edge, edge, 3), in steps of `stain.DENSITY_STEPS`, the cell at the centre.
    """
    return _Drawing(MORPHOLOGY[code], code, diameter_um, rng, stain, um_per_px).finished()


class _Drawing:
    """A cell in the making. Distances are µm, negative inside."""

    def __init__(
        self,
        look: Morphology,
        code: CellClass,
        diameter_um: float,
        rng: np.random.Generator,
        stain: Stain,
        um_per_px: float,
    ) -> None:
        self._look = look
        self._rng = rng
        self._stain = stain
        self._um_per_px = um_per_px
        self._radius = diameter_um / 2
        self._edge_px = 2 * int(np.ceil(REACH * diameter_um / um_per_px)) + 1
        line = (np.arange(self._edge_px, dtype=np.float32) - self._edge_px // 2) * um_per_px
        self._x: Field
        self._y: Field
        self._x, self._y = np.meshgrid(line, line)
        self._auer = code is CellClass.MYO and rng.random() < AUER_ROD_CHANCE

        self._from_cell = self._outline()
        self._from_nucleus = self._nucleus()
        self._in_cell = soft_step(self._from_cell, EDGE_UM)
        self._in_nucleus = soft_step(self._from_nucleus, EDGE_UM if look.cytoplasm else 3 * EDGE_UM)
        if not look.cytoplasm:
            self._in_cell = self._in_nucleus

    def finished(self) -> NDArray[np.uint16]:
        density = self._cytoplasm() + self._chromatin() + self._granules()
        density *= (1 - self._vacuoles())[..., None]
        sigma = BLUR_UM / self._um_per_px
        blurred = ndimage.gaussian_filter(density, (sigma, sigma, 0), mode="constant", truncate=3)
        return quantise(blurred)

    def _noise(self, scale_um: float) -> Field:
        return draw_noise(self._rng, self._edge_px, max(scale_um / self._um_per_px, 0.6))

    def _dye(self, name: str) -> NDArray[np.float32]:
        return self._stain.density(getattr(self._stain, name))

    def _outline(self) -> Field:
        angle = np.arctan2(self._y, self._x)
        radius = np.ones_like(angle)
        for order in range(2, 7):
            strength = self._look.ragged * self._rng.normal() * (2 / order) ** 0.5
            radius += strength * np.cos(order * angle + self._rng.uniform(0, 2 * np.pi))
        away = np.hypot(self._x, self._y) - self._radius * np.clip(radius, 0.75, 1.3)
        return np.asarray(away + 0.06 * self._noise(0.5), np.float32)

    def _nucleus(self) -> Field:
        discs = self._look.nucleus(self._rng) * self._radius
        away = np.full_like(self._x, np.inf)
        for x, y, radius in discs:
            np.minimum(away, np.hypot(self._x - x, self._y - y) - radius, out=away)
        smooth = ndimage.gaussian_filter(away, 0.22 / self._um_per_px, mode="nearest", truncate=3)
        frayed = self._look.frayed * self._radius
        smooth += 0.5 * frayed * self._noise(0.7) + 0.25 * frayed * self._noise(0.25)
        if not self._look.cytoplasm:
            return np.asarray(np.maximum(smooth, self._from_cell - 0.1 * self._radius), np.float32)
        return np.asarray(np.maximum(smooth, self._from_cell + 0.2), np.float32)

    def _cytoplasm(self) -> NDArray[np.float32]:
        look = self._look
        amount = 1 + 0.10 * self._noise(0.35) + 0.06 * self._noise(1.2)
        amount += look.rim * np.exp(np.minimum(self._from_cell, 0) / 0.9)
        amount -= look.hof * np.exp(-np.maximum(self._from_nucleus, 0) / 1.2)
        amount *= self._in_cell * (1 - 0.8 * self._in_nucleus)
        density = np.zeros((*amount.shape, 3), np.float32)
        for dye, layers in look.cytoplasm.items():
            strength = layers * self._rng.uniform(0.85, 1.15)
            density += (strength * amount)[..., None] * self._dye(dye)
        return density

    def _chromatin(self) -> NDArray[np.float32]:
        look = self._look
        grain = self._noise(look.clumps_um) + 0.5 * self._noise(look.clumps_um / 2)
        grain += 0.4 * self._noise(3 * look.clumps_um)
        depth = np.minimum(-self._from_nucleus, 1.0)
        amount = 0.86 + 0.14 * depth + look.contrast * np.tanh(grain)
        amount += 0.22 * np.exp(-((self._from_nucleus + 0.15) ** 2) / 0.03)
        amount *= 1 - 0.42 * self._nucleoli()
        strength = look.chromatin * self._rng.uniform(0.92, 1.08)
        layers = self._in_nucleus * np.maximum(amount, 0) * strength
        return np.asarray(layers[..., None] * self._dye("chromatin"), np.float32)

    def _nucleoli(self) -> Field:
        fewest, most = self._look.nucleoli
        spots = np.zeros_like(self._x)
        inside = np.argwhere(self._from_nucleus < -1.3)
        if most == 0 or len(inside) == 0:
            return spots
        for _ in range(int(self._rng.integers(fewest, most + 1))):
            row, column = inside[self._rng.integers(len(inside))]
            away = np.hypot(
                self._x - self._x[row, column], (self._y - self._y[row, column]) * 1.15
            ) - self._rng.uniform(0.55, 1.0)
            np.maximum(spots, soft_step(away + 0.12 * self._noise(0.4), 0.14), out=spots)
        return spots

    def _granules(self) -> NDArray[np.float32]:
        density = np.zeros((*self._x.shape, 3), np.float32)
        for kind in self._look.granules:
            where = self._from_cell < -0.8 * kind.radius_um
            if not kind.over_nucleus:
                where &= self._from_nucleus > 0.5 * kind.radius_um
            count = round(kind.per_um2 * int(where.sum()) * self._um_per_px**2)
            grains = scatter_grains(self._rng, where, count, kind.radius_um / self._um_per_px)
            layers = kind.amount * np.minimum(grains, 1.5)
            density += layers[..., None] * self._dye(kind.dye)
        if self._auer:
            density += self._auer_rod()[..., None] * self._dye("azurophil")
        return density

    def _auer_rod(self) -> Field:
        where = np.argwhere((self._from_nucleus > 0.3) & (self._from_cell < -0.6))
        if len(where) == 0:
            return np.zeros_like(self._x)
        row, column = where[self._rng.integers(len(where))]
        x, y = self._x - self._x[row, column], self._y - self._y[row, column]
        turn = np.arctan2(self._y[row, column], self._x[row, column]) + np.pi / 2
        along = x * np.cos(turn) + y * np.sin(turn)
        across = -x * np.sin(turn) + y * np.cos(turn)
        away = np.hypot(np.maximum(np.abs(along) - 1.2, 0), across) - 0.13
        return np.asarray(0.9 * soft_step(away, 0.08) * self._in_cell, np.float32)

    def _vacuoles(self) -> Field:
        holes = np.zeros_like(self._x)
        if self._look.vacuoles == 0:
            return holes
        where = np.argwhere((self._from_nucleus > 0.1) & (self._from_cell < -0.7))
        if len(where) == 0:
            return holes
        for _ in range(int(self._rng.integers(0, self._look.vacuoles + 1))):
            row, column = where[self._rng.integers(len(where))]
            away = np.hypot(self._x - self._x[row, column], self._y - self._y[row, column])
            size = self._rng.uniform(0.25, 0.6)
            np.maximum(holes, 0.85 * soft_step(away - size, 0.1), out=holes)
        return holes
