"""The slide as a picture that can be asked for any rectangle of itself."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.demo.atlas import load_atlas
from worker.demo.layout import BLOCK_UM, Layout
from worker.demo.leukocyte import REACH, draw_leukocyte
from worker.demo.population import Leukocytes
from worker.demo.smear import Smear
from worker.demo.stain import DENSITY_STEPS, Stain
from worker.slide.geometry import Size

NOISE_PERIOD_PX: Final = 1024
CAMERA_NOISE: Final = 0.006
"""Standard deviation of the camera's noise as optical density: 1.5 grey levels on clear glass."""
VIGNETTE: Final = 0.05
"""Optical density by which the lamp falls off from the middle of the slide to its corners."""
ROWS_A_LOOKUP: Final = 16


class Scene:
    """Draws rectangles of one demo slide; the same pixels in whatever order they are asked for.

    Everything is an optical density and densities add up (Beer–Lambert), so nothing depends on
    which sprite is laid first. May be read from several threads.

    Args:
        size: level-0 px.
        um_per_px: micrometres per px.
        smear: where the blood is.
        leukocytes: what was planted.
        stain: colours.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        size: Size,
        um_per_px: float,
        smear: Smear,
        leukocytes: Leukocytes,
        stain: Stain,
        seed: int,
    ) -> None:
        self._size = size
        self._um_per_px = um_per_px
        self._leukocytes = leukocytes
        self._stain = stain
        self._seed = seed
        self._atlas = load_atlas(stain, um_per_px)
        self._layout = Layout(smear, leukocytes, self._atlas, seed)
        self._glass = _draw_glass(stain, seed)
        steps = np.arange(2**16) / DENSITY_STEPS
        self._shades = np.rint(255 * np.exp(-steps)).astype(np.uint8)
        self._cell_sprite = lru_cache(maxsize=96)(self._draw_cell)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Pixels of a rectangle: RGB, shape (height, width, 3), level-0 frame."""
        density = self._lay_glass(x, y, width, height)
        self._lay_small(density, x, y, width, height)
        self._lay_leukocytes(density, x, y, width, height)
        pixels = np.empty(density.shape, np.uint8)
        for row in range(0, height, ROWS_A_LOOKUP):
            rows = slice(row, row + ROWS_A_LOOKUP)
            np.take(self._shades, density[rows], out=pixels[rows], mode="clip")
        return pixels.reshape(height, width, 3)

    def _lay_glass(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint16]:
        period = NOISE_PERIOD_PX
        density = np.empty((height, width, 3), np.uint16)
        for top in range(-(y % period), height, period):
            for left in range(-(x % period), width, period):
                to_y, to_x = max(top, 0), max(left, 0)
                part = density[to_y : top + period, to_x : left + period]
                rows = slice(to_y - top, to_y - top + part.shape[0])
                columns = slice(to_x - left, to_x - left + part.shape[1])
                part[:] = self._glass[rows, columns]
        flat = density.reshape(height, width * 3)
        flat += np.repeat(_lamp_falloff(np.arange(x, x + width), self._size.width), 3)
        flat += _lamp_falloff(np.arange(y, y + height), self._size.height)[:, None]
        return flat

    def _lay_small(
        self, density: NDArray[np.uint16], x: int, y: int, width: int, height: int
    ) -> None:
        block_px = BLOCK_UM / self._um_per_px
        reach = self._atlas.reach_px + 0.2 * block_px
        columns = range(int((x - reach) // block_px), int((x + width + reach) // block_px) + 1)
        rows = range(int((y - reach) // block_px), int((y + height + reach) // block_px) + 1)
        sprites = self._atlas.sprites
        for row in rows:
            for column in columns:
                placed = self._layout.block(column, row)
                centres = np.rint(placed.centres_um / self._um_per_px).astype(int) - (x, y)
                seen = np.all(
                    (centres > -self._atlas.reach_px)
                    & (centres < (width + self._atlas.reach_px, height + self._atlas.reach_px)),
                    axis=1,
                )
                for (cx, cy), index in zip(
                    centres[seen].tolist(), placed.sprites[seen].tolist(), strict=True
                ):
                    _lay(density, sprites[index], cx, cy)

    def _lay_leukocytes(
        self, density: NDArray[np.uint16], x: int, y: int, width: int, height: int
    ) -> None:
        if not self._leukocytes.codes:
            return
        centres = np.floor(self._leukocytes.centres_um / self._um_per_px).astype(int) - (x, y)
        reach = REACH * self._leukocytes.diameters_um / self._um_per_px + 2
        seen = np.all(
            (centres > -reach[:, None]) & (centres < np.array([width, height]) + reach[:, None]),
            axis=1,
        )
        for index in np.flatnonzero(seen):
            _lay(density, self._cell_sprite(int(index)), *centres[index].tolist())

    def _draw_cell(self, index: int) -> NDArray[np.uint16]:
        rng = np.random.default_rng([self._seed, 5, index])
        code = self._leukocytes.codes[index]
        diameter_um = float(self._leukocytes.diameters_um[index])
        return draw_leukocyte(code, diameter_um, rng, self._stain, self._um_per_px)


def _lay(density: NDArray[np.uint16], sprite: NDArray[np.uint16], cx: int, cy: int) -> None:
    """Add a sprite centred on a pixel; `density` has shape (height, width × 3)."""
    height, width = sprite.shape[:2]
    top, left = cy - height // 2, cx - width // 2
    rows = slice(max(top, 0), max(min(top + height, density.shape[0]), 0))
    start, stop = max(left, 0), min(left + width, density.shape[1] // 3)
    if rows.start >= rows.stop or start >= stop:
        return
    part = sprite.reshape(height, width * 3)[
        rows.start - top : rows.stop - top, (start - left) * 3 : (stop - left) * 3
    ]
    density[rows, start * 3 : stop * 3] += part


def _draw_glass(stain: Stain, seed: int) -> NDArray[np.uint16]:
    """Bare glass with camera noise, one period of it, in density steps below full white."""
    rng = np.random.default_rng([seed, 6])
    shape = (NOISE_PERIOD_PX, NOISE_PERIOD_PX, 3)
    noise = CAMERA_NOISE * rng.standard_normal(shape, np.float32)
    clear = -np.log(np.asarray(stain.glass, np.float32) / 255)
    return np.asarray(np.rint(np.maximum(clear + noise, 0) * DENSITY_STEPS), np.uint16)


def _lamp_falloff(place: NDArray[np.int64], length: int) -> NDArray[np.uint16]:
    off_centre = (place - length / 2) / (length / 2)
    return np.asarray(np.rint(VIGNETTE / 2 * off_centre**2 * DENSITY_STEPS), np.uint16)
