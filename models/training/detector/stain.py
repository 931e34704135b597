"""Another laboratory's stain, glass and camera, applied to a field's optical density.

Colours are changed in optical density, where stains add. Every function is pure in its generator.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.morphology import reconstruction

from models.density import MAX_DENSITY, MAX_RELATIVE

Density = NDArray[np.float32]

STAINS: Final = np.array([[0.65, 0.70, 0.29], [0.27, 0.78, 0.56], [0.71, -0.47, 0.52]])
"""Unit optical densities (R, G, B) of azure and eosin, after Ruifrok & Johnston 2001, and a third
direction for what neither explains."""

RED_CELL: Final = np.array([0.43, 1.0, 0.6])
"""Typical colour of a red cell, green 1: where the stains' directions are meant to hold."""

LEAST_SHARE: Final = 0.3
"""A red cell keeps at least this share of its typical density in each channel."""

GLASS_SHARE: Final = 0.3
"""An enclosed minimum below this share of its rim's density is glass between cells, no pallor."""


@dataclass(frozen=True, slots=True)
class StainJitter:
    """How far colours wander; standard deviations of natural-log factors unless said otherwise.

    Attributes:
        stain: each stain's strength, on its own: nuclei may come out lighter than red cells.
        direction: of each stain's colour vector, absolute.
        gamma: exponent on the density.
        grey_chance: probability of fading towards grey, by up to `grey` of the way.
        grey: largest share of grey.
        glass: error of the glass colour per channel, in units of a red cell.
        tilt: illumination gradient across the field, in units of a red cell.
        flat_chance: probability of red cells without a pale centre.
        tone_chance: probability of a steep camera curve that drives dark parts together.
        red_cell: error of the red cell's estimated density.
        channel: the same of each channel on its own.
    """

    stain: float = 0.25
    direction: float = 0.1
    gamma: float = 0.12
    grey_chance: float = 0.15
    grey: float = 1.0
    glass: float = 0.12
    tilt: float = 0.12
    flat_chance: float = 0.3
    tone_chance: float = 0.25
    red_cell: float = 0.2
    channel: float = 0.2


def jitter_stain(density: Density, jitter: StainJitter, rng: np.random.Generator) -> Density:
    """Stain as another laboratory might have done it, in units of that laboratory's red cells.

    Args:
        density: shape (height, width, 3), 0 is glass, a red cell is (1, 1, 1).
        jitter: how far.
        rng: consumed by a fixed number of draws.

    Returns:
        Same shape, 0 to MAX_RELATIVE; a red cell is (1, 1, 1) again.
    """
    basis = STAINS + rng.normal(0.0, jitter.direction, (3, 3))
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    gains = np.exp(rng.normal(0.0, jitter.stain, 3))
    mix = np.diag(RED_CELL) @ np.linalg.inv(STAINS) @ np.diag(gains) @ basis
    grey_chance, grey = rng.random(), rng.uniform(0.0, jitter.grey)
    if grey_chance < jitter.grey_chance:
        mix = mix @ ((1.0 - grey) * np.eye(3) + grey / 3.0)
    mix = (mix / np.maximum(mix.sum(axis=0), LEAST_SHARE * RED_CELL)).astype(np.float32)
    if rng.random() < jitter.flat_chance:
        density = fill_pallor(density)
    out = np.maximum(density @ mix, 0.0)
    tone_chance, ceiling = rng.random(), np.float32(rng.uniform(2.5, 6.0))
    steepness = np.float32(rng.uniform(1.0, 3.0))
    if tone_chance < jitter.tone_chance:
        out = 1.0 - np.exp(-out * (steepness / ceiling))
        out /= 1.0 - np.exp(-steepness / ceiling)
    out **= np.float32(np.exp(rng.normal(0.0, jitter.gamma)))
    height, width = density.shape[:2]
    slope_x, slope_y = rng.normal(0.0, jitter.tilt, 2)
    plane = (
        slope_y * np.linspace(-1, 1, height)[:, None] + slope_x * np.linspace(-1, 1, width)
    ).astype(np.float32)
    out += plane[..., None] + rng.normal(0.0, jitter.glass, 3).astype(np.float32)
    clipped: Density = np.clip(out, 0.0, MAX_RELATIVE, out=out)
    return clipped


def fill_pallor(density: Density) -> Density:
    """Red cells without their pale centre, as in other species, in thick parts and in anaemia.

    Enclosed minima of the green density are raised to their rim, where they are no bare glass.
    """
    green = density[..., 1]
    seed = np.full_like(green, green.max())
    seed[[0, -1]], seed[:, [0, -1]] = green[[0, -1]], green[:, [0, -1]]
    rim = reconstruction(seed, green, method="erosion").astype(np.float32)
    gain = np.where(green > GLASS_SHARE * rim, rim / np.maximum(green, 1e-3), 1.0)
    filled: Density = np.minimum(density * gain[..., None], MAX_RELATIVE).astype(np.float32)
    return filled


def jitter_optics(density: Density, rng: np.random.Generator) -> Density:
    """Out of focus or oversharpened, and stray light. Same shape."""
    chance, amount, stray = rng.random(), rng.random(), rng.uniform(0.0, 0.12)
    light = np.exp(-density)
    if chance < 0.4:
        light = gaussian_filter(light, (1.3 * amount, 1.3 * amount, 0))
    elif chance < 0.55:
        light = light + (0.5 + amount) * (light - gaussian_filter(light, (1.0, 1.0, 0)))
    light = (np.clip(light, 0.0, 1.2) + stray) / (1.0 + stray)
    out: Density = np.clip(-np.log(np.maximum(light, 1e-2)), 0.0, MAX_DENSITY).astype(np.float32)
    return out


def expose(
    density: Density, shade: Density | None, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Density]:
    """A photograph of the density: random glass colour, black, sensor noise, perhaps JPEG.

    Args:
        density: shape (height, width, 3), natural log.
        shade: opacity of black things, shape (height, width), or None.
        rng: consumed by a number of draws that depends on `shade`.

    Returns:
        RGB of the same height and width, and the glass colour (3,) it was taken with.
    """
    glass = np.clip(
        rng.uniform(150.0, 255.0) * np.exp(rng.normal(0.0, 0.08, 3)), 90.0, 255.0
    ).astype(np.float32)
    light = np.exp(-density) * glass
    if shade is not None:
        black = (rng.uniform(0.0, 45.0) + rng.normal(0.0, 4.0, 3)).astype(np.float32)
        light += shade[..., None] * (black - light)
    strength = rng.choice([0.0, rng.uniform(0.5, 5.0)])
    if strength:
        light += np.float32(strength) * rng.standard_normal(density.shape, np.float32)
    rgb = np.clip(light, 0.0, 255.0).round().astype(np.uint8)
    compress, quality = rng.random(), int(rng.integers(35, 96))
    if compress < 0.5:
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
        rgb = np.asarray(Image.open(stream).convert("RGB"))
    return rgb, glass
