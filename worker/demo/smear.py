"""The lie of the blood on the glass: how densely red cells cover each point of the slide.

Left to right: a strip of bare glass, the thick end, the monolayer, the feathered end, bare glass.
The borders wander, each its own way. All lengths are micrometres from the slide's top left corner.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.demo.truth import TruthRegion, Zone

Floats = NDArray[np.float64]

ZONES: Final = (Zone.GLASS, Zone.THICK, Zone.MONOLAYER, Zone.FEATHERED, Zone.GLASS)
BORDERS: Final = (0.025, 0.20, 0.80, 0.95)
"""Mean place of the border right of each zone but the last, as a fraction of the width."""
WANDER: Final = 0.012
"""Standard deviation of a border about its mean place, as a fraction of the width."""
MONOLAYER_COVER: Final = (0.60, 0.38)
"""Red-cell area per area of glass at the monolayer's thick and thin border."""
THICKEST_COVER: Final = 1.9
BORDER_CORNERS: Final = 33


@dataclass(frozen=True, slots=True)
class _Ripple:
    """A smooth random function of one coordinate with unit variance."""

    frequency: Floats
    phase: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, period_um: float) -> "_Ripple":
        return cls(rng.uniform(0.5, 2.0, 4) * 2 * np.pi / period_um, rng.uniform(0, 2 * np.pi, 4))

    def at(self, place: Floats) -> Floats:
        waves = np.sin(np.asarray(place)[..., None] * self.frequency + self.phase)
        return np.asarray(waves.sum(axis=-1) / np.sqrt(2))


class Smear:
    """The coverage field of one slide.

    Args:
        width_um: of the slide.
        height_um: of the slide.
        seed: of the borders and streaks.
    """

    def __init__(self, width_um: float, height_um: float, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.width_um = width_um
        self.height_um = height_um
        self._borders = [_Ripple.draw(rng, height_um) for _ in BORDERS]
        self._streaks = (_Ripple.draw(rng, 260.0), _Ripple.draw(rng, 410.0))

    def borders_um(self, y: Floats) -> Floats:
        """x of every border at given y; shape (4, *y.shape), ascending."""
        wander = np.stack([ripple.at(y) for ripple in self._borders])
        mean = np.asarray(BORDERS).reshape(-1, *[1] * np.ndim(y))
        return np.asarray((mean + WANDER * np.clip(wander, -2, 2)) * self.width_um)

    def zones(self, x: Floats, y: Floats) -> list[Zone]:
        """The zone each point lies in; x and y of shape (n,)."""
        index = (x >= self.borders_um(y)).sum(axis=0)
        return [ZONES[i] for i in index]

    def coverage(self, x: Floats, y: Floats) -> Floats:
        """Red-cell area per area of glass, ≥ 0, at each point; x and y of one shape."""
        start, thin, feather, end = self.borders_um(y)
        dense, sparse = MONOLAYER_COVER
        in_thick = np.clip((thin - x) / (thin - start), 0, 1)
        in_layer = np.clip((x - thin) / (feather - thin), 0, 1)
        in_tail = np.clip((x - feather) / (end - feather), 0, 1)
        cover = (
            dense
            + (THICKEST_COVER - dense) * in_thick**0.6
            - (dense - sparse) * in_layer
            - (sparse - 0.01) * in_tail**0.7
        )
        across, along = self._streaks
        streaks = 1 + (0.07 + 0.25 * in_tail) * (across.at(y) + 0.5 * along.at(x))
        inside = (x >= start) & (x < end)
        return np.asarray(np.where(inside, cover * np.maximum(streaks, 0.05), 0.0))

    def regions(self, um_per_px: float) -> tuple[TruthRegion, ...]:
        """The zones as polygons in the level-0 frame; together they tile the slide."""
        y = np.linspace(0, self.height_um, BORDER_CORNERS)
        lines = [np.zeros_like(y), *self.borders_um(y), np.full_like(y, self.width_um)]
        regions = []
        for kind, left, right in zip(ZONES, lines, lines[1:], strict=False):
            corners = [*zip(left, y, strict=True), *zip(right[::-1], y[::-1], strict=True)]
            polygon = tuple(
                (float(round(cx / um_per_px, 1)), float(round(cy / um_per_px, 1)))
                for cx, cy in corners
            )
            regions.append(TruthRegion(kind=kind, polygon=polygon))
        return tuple(regions)
