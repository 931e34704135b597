"""Ready-drawn red cells, platelets and specks, to be laid on the glass by the thousand."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.demo.leukocyte import BLUR_UM, EDGE_UM
from worker.demo.stain import Stain, quantise
from worker.demo.texture import Field, draw_noise, scatter_grains, soft_step

RED_CELL_UM: Final = 7.4
"""Mean diameter on a dry smear (Bain, "Blood Cells": 6.7–7.7)."""
PALE_CELLS: Final = 160
FLAT_CELLS: Final = 80
PLATELETS: Final = 48
SPECKS: Final = 24


@dataclass(frozen=True, slots=True)
class Atlas:
    """Sprites of optical density, each of shape (height, width, 3), in four runs.

    Attributes:
        sprites: all of them.
        radii_um: of each, for keeping cells apart.
        pale: sprites of red cells with a central pallor.
        flat: sprites of red cells without.
        platelets: sprites of platelets.
        specks: sprites of stain deposits.
        reach_px: half the edge of the largest sprite, rounded up.
    """

    sprites: tuple[NDArray[np.uint16], ...]
    radii_um: NDArray[np.float64]
    pale: range
    flat: range
    platelets: range
    specks: range
    reach_px: int


@lru_cache(maxsize=2)
def load_atlas(stain: Stain, um_per_px: float) -> Atlas:
    """The sprites for a stain and scale; drawn once a process, the same every time."""
    rng = np.random.default_rng(7400)
    sprites: list[NDArray[np.uint16]] = []
    radii: list[float] = []
    runs = []
    for count, draw in (
        (PALE_CELLS, _draw_pale_cell),
        (FLAT_CELLS, _draw_flat_cell),
        (PLATELETS, _draw_platelet),
        (SPECKS, _draw_speck),
    ):
        runs.append(range(len(sprites), len(sprites) + count))
        for _ in range(count):
            sprite, radius_um = draw(rng, stain, um_per_px)
            sprites.append(sprite)
            radii.append(radius_um)
    reach_px = max(len(sprite) for sprite in sprites) // 2 + 1
    pale, flat, platelets, specks = runs
    return Atlas(tuple(sprites), np.array(radii), pale, flat, platelets, specks, reach_px)


def _grid(reach_um: float, um_per_px: float) -> tuple[Field, Field]:
    half = int(np.ceil(reach_um / um_per_px))
    line = np.arange(-half, half + 1, dtype=np.float32) * um_per_px
    x: Field
    y: Field
    x, y = np.meshgrid(line, line)
    return x, y


def _draw_pale_cell(
    rng: np.random.Generator, stain: Stain, um_per_px: float
) -> tuple[NDArray[np.uint16], float]:
    return _draw_red_cell(rng, stain, um_per_px, pallor=float(rng.beta(5, 4)) * 0.95)


def _draw_flat_cell(
    rng: np.random.Generator, stain: Stain, um_per_px: float
) -> tuple[NDArray[np.uint16], float]:
    return _draw_red_cell(rng, stain, um_per_px, pallor=float(rng.uniform(0.05, 0.25)))


def _draw_red_cell(
    rng: np.random.Generator, stain: Stain, um_per_px: float, *, pallor: float
) -> tuple[NDArray[np.uint16], float]:
    radius = RED_CELL_UM / 2 * float(np.clip(rng.normal(1, 0.06), 0.82, 1.2))
    x, y = _grid(radius * 1.35, um_per_px)
    angle = np.arctan2(y, x)
    outline = np.ones_like(angle)
    for order, strength in ((2, 0.055), (3, 0.014), (4, 0.008)):
        turn = rng.uniform(0, 2 * np.pi)
        outline += strength * rng.normal() * np.cos(order * angle + turn)
    outline = np.clip(outline, 0.8, 1.25)
    part = np.hypot(x, y) / (radius * outline)
    inside = soft_step(np.asarray((part - 1) * radius, np.float32), EDGE_UM)
    hollow = radius * rng.uniform(0.42, 0.62)
    off = rng.normal(0, 0.15, 2)
    dip = np.exp(-((np.hypot(x - off[0], y - off[1]) / outline / hollow) ** rng.uniform(2.0, 3.6)))
    rim = 0.08 * np.exp(-(((part - 0.82) / 0.14) ** 2)) + 0.10 * np.exp(
        -(((part - 1) / 0.035) ** 2)
    )
    slope = rng.normal(0, 0.04, 2)
    amount = 1 + rim - pallor * dip + (slope[0] * x + slope[1] * y) / radius
    amount *= inside * np.clip(rng.normal(1, 0.09), 0.75, 1.3)
    edge_px = amount.shape[0]
    amount *= 1 + 0.025 * draw_noise(rng, edge_px, 0.5 / um_per_px)
    return _finished(amount[..., None] * stain.density(stain.haemoglobin), um_per_px), radius


def _draw_platelet(
    rng: np.random.Generator, stain: Stain, um_per_px: float
) -> tuple[NDArray[np.uint16], float]:
    radius = float(rng.uniform(0.9, 1.7))
    x, y = _grid(radius * 1.8, um_per_px)
    turn, stretch = float(rng.uniform(0, np.pi)), float(rng.uniform(0.75, 1.0))
    along = (x * np.cos(turn) + y * np.sin(turn)) * stretch
    across = (-x * np.sin(turn) + y * np.cos(turn)) / stretch
    edge_px = x.shape[0]
    bumps: Field = 0.22 * draw_noise(rng, edge_px, 0.4 / um_per_px)
    away: Field = np.hypot(along, across) - radius + bumps
    body = soft_step(away, 1.5 * EDGE_UM)
    count = round(5.0 * np.pi * radius**2)
    grains = scatter_grains(rng, away < -0.25, count, 0.2 / um_per_px)
    density = (0.30 * body)[..., None] * stain.density(stain.basophilia)
    density += (0.22 * body)[..., None] * stain.density(stain.azurophil)
    density += (0.26 * np.minimum(grains, 2.0))[..., None] * stain.density(stain.azurophil)
    return _finished(density, um_per_px), radius


def _draw_speck(
    rng: np.random.Generator, stain: Stain, um_per_px: float
) -> tuple[NDArray[np.uint16], float]:
    spread = float(rng.uniform(0.0, 0.8))
    x, y = _grid(spread + 0.9, um_per_px)
    amount = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 4))):
        at = rng.normal(0, spread / 2 + 0.01, 2)
        size = rng.uniform(0.12, 0.4)
        away = np.hypot(x - at[0], y - at[1]) - size
        amount = np.maximum(amount, rng.uniform(0.5, 1.2) * soft_step(away, EDGE_UM))
    return _finished(amount[..., None] * stain.density(stain.basophil), um_per_px), spread + 0.4


def _finished(density: NDArray[np.float32], um_per_px: float) -> NDArray[np.uint16]:
    sigma = BLUR_UM / um_per_px
    blurred = ndimage.gaussian_filter(density, (sigma, sigma, 0), mode="constant", truncate=3)
    return quantise(blurred)
