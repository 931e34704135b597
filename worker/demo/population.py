"""Which leukocytes a slide holds and where they lie. All lengths are micrometres."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.taxonomy import CODES, NOT_IN_DIFFERENTIAL, CellClass
from worker.demo.morphology import DEFAULT_MIX, MORPHOLOGY
from worker.demo.smear import Smear

CELLS_PER_MM2: Final = 25.0
"""Default leukocytes a mm² of slide, a raised count: one to about 400 red cells."""
GAP_UM: Final = 4.0
"""Least clear glass between two cells that are not a deliberate pair."""
MARGIN_UM: Final = 15.0
"""Least distance of a centre from the slide's edge: half a 29 µm patch."""
PAIR_CHANCE: Final = 0.02
CROWDED_CELLS: Final = 3000.0
"""More cells a mm² than this are not planted: they could not all be kept apart."""


@dataclass(frozen=True, slots=True)
class Leukocytes:
    """All planted cells, in no spatial order.

    Attributes:
        codes: class of each.
        centres_um: shape (n, 2), x and y.
        diameters_um: shape (n,).
        touching: whether each is half of a deliberate pair.
    """

    codes: tuple[CellClass, ...]
    centres_um: NDArray[np.float64]
    diameters_um: NDArray[np.float64]
    touching: NDArray[np.bool_]


def plan_codes(
    count: int, blast_fraction: float, mix: Mapping[CellClass, float]
) -> list[CellClass]:
    """How many of each class, by largest remainder, in taxonomy order.

    Args:
        count: cells in all, EBO and KSC included.
        blast_fraction: myeloblasts per leukocyte of the differential (that is, without EBO
            and KSC).
        mix: relative frequencies of the other classes; a MYO in it is ignored.

    Raises:
        ValueError: a negative count, a fraction outside 0–1, or an empty mix.
    """
    if count < 0:
        raise ValueError(f"cannot plant {count} leukocytes; give 0 or more")
    if not 0 <= blast_fraction <= 1:
        raise ValueError(f"blast_fraction is {blast_fraction}; it must lie between 0 and 1")
    others = {code: mix.get(code, 0.0) for code in CODES if code is not CellClass.MYO}
    total = sum(others.values())
    if min(others.values()) < 0 or total <= 0:
        raise ValueError("the mix of classes must hold at least one positive and no negative share")
    aside = {code: share / total for code, share in others.items() if code in NOT_IN_DIFFERENTIAL}
    shares: dict[CellClass, float] = {code: count * share for code, share in aside.items()}
    beside = _apportion(shares, round(sum(shares.values())))
    rest = count - sum(beside.values())
    blasts = round(rest * blast_fraction)
    normal = {code: share for code, share in others.items() if code not in NOT_IN_DIFFERENTIAL}
    scale = sum(normal.values())
    if scale == 0:
        blasts = rest
    counted = _apportion(
        {code: (rest - blasts) * share / (scale or 1) for code, share in normal.items()},
        rest - blasts,
    )
    numbers = {**beside, **counted, CellClass.MYO: blasts}
    return [code for code in CODES for _ in range(numbers[code])]


def _apportion(shares: Mapping[CellClass, float], seats: int) -> dict[CellClass, int]:
    numbers = {code: int(share) for code, share in shares.items()}
    by_remainder = sorted(shares, key=lambda code: numbers[code] - shares[code])
    for code in by_remainder[: seats - sum(numbers.values())]:
        numbers[code] += 1
    return numbers


def plant_leukocytes(
    smear: Smear,
    seed: int,
    count: int,
    blast_fraction: float,
    mix: Mapping[CellClass, float] = DEFAULT_MIX,
) -> Leukocytes:
    """Choose classes, sizes and places.

    Args:
        smear: where there is blood: cells lie where red cells lie, less so in the thick end.
        seed: of sizes and places.
        count: cells in all.
        blast_fraction: see `plan_codes`.
        mix: see `plan_codes`.

    Raises:
        ValueError: see `plan_codes`; or the slide has no room for so many.
    """
    rng = np.random.default_rng([seed, 2])
    codes = plan_codes(count, blast_fraction, mix)
    rng.shuffle(codes)
    area_mm2 = smear.width_um * smear.height_um / 1e6
    if count > CROWDED_CELLS * area_mm2:
        raise ValueError(
            f"{count} leukocytes on {area_mm2:.3g} mm² would lie over each other; "
            f"at most {int(CROWDED_CELLS * area_mm2)} are planted, or make the slide larger"
        )
    diameters = np.array([rng.uniform(*MORPHOLOGY[code].diameter_um) for code in codes])
    centres = np.full((count, 2), np.inf)
    touching = np.zeros(count, bool)
    for i in range(count):
        partner = int(rng.integers(i)) if i and rng.random() < PAIR_CHANCE else None
        if partner is not None and not touching[partner]:
            turn = rng.uniform(0, 2 * np.pi)
            apart = 0.98 * (diameters[i] + diameters[partner]) / 2
            place = centres[partner] + apart * np.array([np.cos(turn), np.sin(turn)])
            if _is_free(smear, place, i, partner, centres, diameters):
                centres[i] = place
                touching[[i, partner]] = True
                continue
        centres[i] = _find_place(smear, rng, i, centres, diameters)
    return Leukocytes(tuple(codes), centres, diameters, touching)


def _find_place(
    smear: Smear,
    rng: np.random.Generator,
    i: int,
    centres: NDArray[np.float64],
    diameters: NDArray[np.float64],
) -> NDArray[np.float64]:
    for _ in range(200):
        tries = rng.uniform((0, 0), (smear.width_um, smear.height_um), (32, 2))
        wanted = np.minimum(smear.coverage(tries[:, 0], tries[:, 1]), 0.6) / 0.6
        for place in tries[rng.random(32) < wanted]:
            if _is_free(smear, place, i, None, centres, diameters):
                return np.asarray(place)
    raise ValueError(
        f"no room for leukocyte {i + 1} of {len(diameters)}; plant fewer, or make the slide larger"
    )


def _is_free(
    smear: Smear,
    place: NDArray[np.float64],
    i: int,
    partner: int | None,
    centres: NDArray[np.float64],
    diameters: NDArray[np.float64],
) -> bool:
    x, y = place
    within = (
        MARGIN_UM <= x <= smear.width_um - MARGIN_UM
        and MARGIN_UM <= y <= smear.height_um - MARGIN_UM
    )
    if not within or smear.coverage(np.array(x), np.array(y)) <= 0:
        return False
    gaps = np.hypot(*(centres[:i] - place).T) - (diameters[:i] + diameters[i]) / 2
    if partner is not None:
        gaps[partner] = np.inf
    return bool(np.all(gaps >= GAP_UM))


def index_places(cells: Leukocytes) -> cKDTree | None:
    """A spatial index of the centres; None without cells."""
    return cKDTree(cells.centres_um) if len(cells.codes) else None
