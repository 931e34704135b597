"""Nuclear shapes as unions of discs, in units of the cell's radius about the cell's centre."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Discs = NDArray[np.float64]
"""Shape (n, 3): x, y, radius."""
NucleusShape = Callable[[np.random.Generator], Discs]


def round_nucleus(radius: float, *, shift: float = 0.0, oval: float = 0.08) -> NucleusShape:
    """A disc or slight oval, off the centre by up to `shift`."""

    def draw(rng: np.random.Generator) -> Discs:
        size = radius * rng.uniform(0.95, 1.05)
        stretch = size * rng.uniform(0, oval) * 2
        x = np.linspace(-stretch, stretch, 3)
        discs = np.stack([x, np.zeros(3), np.full(3, size - abs(stretch) / 2)], axis=1)
        return _placed(rng, discs, rng.uniform(0.4, 1.0) * shift)

    return draw


def arched_nucleus(
    bow: float, angle_deg: tuple[float, float], thickness: float, *, knots: float = 0.0
) -> NucleusShape:
    """A thick arc: a kidney when short and stout, a band when long and slim.

    Args:
        bow: radius of the arc's midline.
        angle_deg: least and greatest angle the arc spans.
        thickness: half the arc's width.
        knots: relative unevenness of the width.
    """

    def draw(rng: np.random.Generator) -> Discs:
        n = 13
        span = np.radians(rng.uniform(*angle_deg))
        angle = np.linspace(-span / 2, span / 2, n)
        radius = bow * (1 + 0.12 * np.sin(angle * rng.uniform(1, 2.5) + rng.uniform(0, 6)))
        width = thickness * (1 + knots * np.interp(np.arange(n), np.arange(0, n, 3), _wobble(rng)))
        discs = np.stack([radius * np.cos(angle), radius * np.sin(angle), width], axis=1)
        discs[:, :2] -= 0.75 * discs[:, :2].mean(axis=0)
        return _placed(rng, discs, 0.06)

    return draw


def lobed_nucleus(lobes: dict[int, float], size: float, *, strand: float = 0.05) -> NucleusShape:
    """Lobes on an arc, joined by strands.

    Args:
        lobes: probability of each number of lobes.
        size: radius of a lobe when there are three; more lobes are smaller.
        strand: half the width of the strands between them.
    """

    def draw(rng: np.random.Generator) -> Discs:
        count = int(rng.choice(list(lobes), p=np.array(list(lobes.values())) / sum(lobes.values())))
        lobe = size * (3 / count) ** 0.4
        step = 2.15 * lobe / 0.46
        angle = np.arange(count) * step * rng.uniform(0.92, 1.1)
        angle = angle - angle.mean() + rng.uniform(-0.25, 0.25, count)
        reach = 0.46 * rng.uniform(0.85, 1.12, count)
        centres = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
        centres -= 0.8 * centres.mean(axis=0)
        parts = [_lobe(rng, centre, lobe * rng.uniform(0.82, 1.12)) for centre in centres]
        for a, b in pairwise(centres):
            along = np.linspace(0, 1, 12)[:, None]
            path = a + (b - a) * along
            parts.append(np.column_stack([path, np.full(12, strand)]))
        return _placed(rng, np.concatenate(parts), 0.05)

    return draw


def folded_nucleus(radius: float, folds: int = 3) -> NucleusShape:
    """A large nucleus of a few broad bulges with clefts between them."""

    def draw(rng: np.random.Generator) -> Discs:
        angle = np.linspace(0, 2 * np.pi, folds, endpoint=False) + rng.uniform(-0.35, 0.35, folds)
        reach = radius * rng.uniform(0.42, 0.6, folds)
        size = radius * rng.uniform(0.55, 0.72, folds)
        bulges = np.stack([reach * np.cos(angle), reach * np.sin(angle), size], axis=1)
        core = np.array([[0.0, 0.0, radius * 0.55]])
        return _placed(rng, np.concatenate([bulges, core]), 0.12)

    return draw


def smeared_nucleus(radius: float) -> NucleusShape:
    """The spread, shapeless nucleus of a burst cell."""

    def draw(rng: np.random.Generator) -> Discs:
        n = 7
        angle = rng.uniform(0, 2 * np.pi, n)
        reach = radius * rng.uniform(0.15, 0.65, n)
        size = radius * rng.uniform(0.3, 0.6, n)
        discs = np.stack([reach * np.cos(angle) * 1.3, reach * np.sin(angle), size], axis=1)
        return _placed(rng, discs, 0.0)

    return draw


def _lobe(rng: np.random.Generator, centre: NDArray[np.float64], radius: float) -> Discs:
    turn = rng.uniform(0, 2 * np.pi)
    offset = np.array([np.cos(turn), np.sin(turn)]) * radius * rng.uniform(0.2, 0.5)
    sizes = radius * np.array([0.86, 0.8])
    return np.column_stack([np.stack([centre - offset, centre + offset]), sizes])


def _wobble(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(-1, 1, 5)


def _placed(rng: np.random.Generator, discs: Discs, shift: float) -> Discs:
    turn, way = rng.uniform(0, 2 * np.pi, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    placed = discs.copy()
    placed[:, 0] = discs[:, 0] * cos - discs[:, 1] * sin + shift * np.cos(way)
    placed[:, 1] = discs[:, 0] * sin + discs[:, 1] * cos + shift * np.sin(way)
    return placed
