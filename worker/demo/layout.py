"""Where red cells, platelets and specks lie, block by block.

The slide is cut into square blocks. A block's random numbers come from its own stream, and its
cells are pushed apart together with those of its eight neighbours, so a block looks the same
whenever it is asked for and nothing need be kept. All lengths are micrometres.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from worker.demo.atlas import RED_CELL_UM, Atlas
from worker.demo.population import Leukocytes, index_places
from worker.demo.smear import THICKEST_COVER, Smear

Floats = NDArray[np.float64]

BLOCK_UM: Final = 150.0
SETTLE_MARGIN_UM: Final = 60.0
"""Neighbours this far away can still matter: `SETTLE_STEPS` times a cell's width, and a reserve."""
SETTLE_STEPS: Final = 5
MOST_COVER: Final = 1.5 * THICKEST_COVER
"""Above any coverage, streaks included."""
_NEIGHBOURHOOD: Final = (
    (0, 0), (-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1),
)  # fmt: skip
"""The block itself first."""
_FIRST_BLOCK: Final = -8
"""Blocks before the slide's corner are drawn too; random streams want indices of at least 0."""
PLATELETS_PER_MM2: Final = 1300.0
"""Before those under other cells are taken away."""
PLATELET_ON_CELL_CHANCE: Final = 0.06
SPECKS_PER_MM2: Final = 60.0
LEUKOCYTE_CLEARANCE: Final = 0.97
"""Red cells stop at this fraction of a leukocyte's radius: they touch it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Sprites and the places of their centres.

    Attributes:
        centres_um: shape (n, 2).
        sprites: shape (n,), indices into the atlas.
    """

    centres_um: Floats
    sprites: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Draft:
    """Red cells of a block before they are pushed apart."""

    centres_um: Floats
    sprites: NDArray[np.int64]
    stiffness: Floats


class Layout:
    """Places everything but leukocytes.

    Args:
        smear: how densely.
        leukocytes: red cells keep clear of these.
        atlas: sprites to choose from.
        seed: of the blocks' random streams.
    """

    def __init__(self, smear: Smear, leukocytes: Leukocytes, atlas: Atlas, seed: int) -> None:
        self._smear = smear
        self._leukocytes = leukocytes
        self._tree = index_places(leukocytes)
        self._atlas = atlas
        self._seed = seed
        self._draft = lru_cache(maxsize=1024)(self._draw_draft)
        self.block = lru_cache(maxsize=512)(self._settle_block)

    def _draw_draft(self, column: int, row: int) -> _Draft:
        """Unsettled red cells seeded in a block; a stack of them may reach beyond it."""
        rng = np.random.default_rng([self._seed, 3, column - _FIRST_BLOCK, row - _FIRST_BLOCK])
        cell_area = np.pi / 4 * RED_CELL_UM**2
        count = rng.poisson(MOST_COVER * BLOCK_UM**2 / cell_area)
        centres = (np.array([column, row]) + rng.random((count, 2))) * BLOCK_UM
        chance, choice = rng.random((2, count))
        cover = self._smear.coverage(centres[:, 0], centres[:, 1])
        kept = chance * MOST_COVER < cover
        centres, cover, choice = centres[kept], cover[kept], choice[kept]
        centres = self._stack(rng, centres, cover)
        flatness = np.interp(cover, (0.05, 0.34, 0.42, 0.6, 0.9), (0.6, 0.4, 0.08, 0.08, 0.7))
        flat = rng.random(len(cover)) < flatness
        sprites = np.where(
            flat,
            self._atlas.flat.start + (choice * len(self._atlas.flat)).astype(int),
            self._atlas.pale.start + (choice * len(self._atlas.pale)).astype(int),
        )
        give = np.where(rng.random(len(cover)) < 0.10, 0.35, 1.0)
        stiffness = give * np.clip((1.0 - cover) / 0.35, 0.25, 1)
        return _Draft(centres, sprites, stiffness)

    def _stack(self, rng: np.random.Generator, centres: Floats, cover: Floats) -> Floats:
        """Gather some cells of the thick end into rouleaux of up to six."""
        moved = centres.copy()
        heads = np.flatnonzero((cover > 0.75) & (rng.random(len(cover)) < 0.08))
        for head in heads:
            length = int(rng.integers(2, 7))
            members = moved[head + 1 : head + length]
            steps = np.arange(1, len(members) + 1)
            turn = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.06) * steps
            reach = 0.36 * RED_CELL_UM * steps
            members[:] = moved[head] + np.stack(
                [reach * np.cos(turn), reach * np.sin(turn)], axis=1
            )
        return moved

    def _settle_block(self, column: int, row: int) -> Placed:
        """What lies in a block, in paint order (which does not matter: densities add up)."""
        drafts = [self._draft(column + dx, row + dy) for dx, dy in _NEIGHBOURHOOD]
        own = len(drafts[0].sprites)
        centres = np.concatenate([draft.centres_um for draft in drafts])
        sprites = np.concatenate([draft.sprites for draft in drafts])
        stiffness = np.concatenate([draft.stiffness for draft in drafts])
        corner = np.array([column, row]) * BLOCK_UM
        near = np.all(
            (centres > corner - SETTLE_MARGIN_UM)
            & (centres < corner + BLOCK_UM + SETTLE_MARGIN_UM),
            axis=1,
        )
        near[:own] = True
        settled = self._push_apart(
            centres[near], self._atlas.radii_um[sprites[near]], stiffness[near]
        )
        small = self._draw_small(column, row, settled)
        return Placed(
            np.concatenate([settled[:own], small.centres_um]),
            np.concatenate([sprites[:own], small.sprites]),
        )

    def _push_apart(self, centres: Floats, radii: Floats, stiffness: Floats) -> Floats:
        if len(centres) == 0:
            return centres
        settled = centres.copy()
        for _ in range(SETTLE_STEPS):
            pairs = cKDTree(settled).query_pairs(2.2 * RED_CELL_UM / 2, output_type="ndarray")
            first, second = pairs[:, 0], pairs[:, 1]
            apart = settled[first] - settled[second]
            distance = np.maximum(np.hypot(apart[:, 0], apart[:, 1]), 1e-6)
            overlap = np.maximum(1.0 * (radii[first] + radii[second]) - distance, 0)
            push = 0.5 * overlap * np.minimum(stiffness[first], stiffness[second])
            move = apart * (np.minimum(push, 1.5) / distance)[:, None]
            for axis in (0, 1):
                settled[:, axis] += 0.7 * np.bincount(first, move[:, axis], len(settled))
                settled[:, axis] -= 0.7 * np.bincount(second, move[:, axis], len(settled))
            settled = self._clear_leukocytes(settled, radii)
        return settled

    def _clear_leukocytes(self, centres: Floats, radii: Floats) -> Floats:
        if self._tree is None:
            return centres
        distance, nearest = self._tree.query(centres, distance_upper_bound=2 * RED_CELL_UM + 4)
        close = np.flatnonzero(np.isfinite(distance))
        cell = nearest[close]
        room = LEUKOCYTE_CLEARANCE * self._leukocytes.diameters_um[cell] / 2 + radii[close]
        inside = distance[close] < room
        close, cell, room = close[inside], cell[inside], room[inside]
        away = centres[close] - self._leukocytes.centres_um[cell]
        away /= np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-6)[:, None]
        cleared = centres.copy()
        cleared[close] = self._leukocytes.centres_um[cell] + away * room[:, None]
        return cleared

    def _draw_small(self, column: int, row: int, red_cells: Floats) -> Placed:
        """Platelets, mostly between the cells of the blood, and specks anywhere."""
        rng = np.random.default_rng([self._seed, 4, column - _FIRST_BLOCK, row - _FIRST_BLOCK])
        corner, area_mm2 = np.array([column, row]) * BLOCK_UM, BLOCK_UM**2 / 1e6
        platelets = corner + rng.random((rng.poisson(PLATELETS_PER_MM2 * area_mm2), 2)) * BLOCK_UM
        chance = rng.random(len(platelets))
        cover = self._smear.coverage(platelets[:, 0], platelets[:, 1])
        platelets = platelets[chance < np.minimum(cover / 0.5, 1)]
        platelets = self._clear_leukocytes(platelets, np.full(len(platelets), 2.0))
        if len(red_cells):
            gap, _ = cKDTree(red_cells).query(platelets)
            lucky = rng.random(len(platelets)) < PLATELET_ON_CELL_CHANCE
            platelets = platelets[(gap > RED_CELL_UM / 2 + 1.0) | lucky]
        specks = corner + rng.random((rng.poisson(SPECKS_PER_MM2 * area_mm2), 2)) * BLOCK_UM
        sprites = np.concatenate(
            [
                rng.choice(np.array(self._atlas.platelets), len(platelets)),
                rng.choice(np.array(self._atlas.specks), len(specks)),
            ]
        )
        return Placed(np.concatenate([platelets, specks]), sprites.astype(np.int64))
