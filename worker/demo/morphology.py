"""What a cell of each class looks like.

Diameters and features after Bain, "Blood Cells: A Practical Guide", 5th ed., chapters 2 and 3,
and the ICSH recommendations for grading of blood cell morphology (Palmer et al., Int J Lab
Hematol 37, 2015); amounts of dye were matched by eye to public crops of real cells.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from models.taxonomy import CellClass
from worker.demo.nucleus import (
    NucleusShape,
    arched_nucleus,
    folded_nucleus,
    lobed_nucleus,
    round_nucleus,
    smeared_nucleus,
)

Dye = Literal[
    "haemoglobin", "basophilia", "neutrophilia", "greyness", "eosin", "basophil", "azurophil"
]
"""A colour of `worker.demo.stain.Stain`."""


@dataclass(frozen=True, slots=True)
class Granules:
    """One population of granules.

    Attributes:
        dye: their colour.
        per_um2: how many a µm² of cytoplasm.
        radius_um: of one.
        amount: layers of dye at the centre of one.
        over_nucleus: whether they lie on the nucleus as well.
    """

    dye: Dye
    per_um2: float
    radius_um: float
    amount: float
    over_nucleus: bool = False


@dataclass(frozen=True, slots=True)
class Morphology:
    """How to draw a class.

    Attributes:
        diameter_um: least and greatest mean diameter.
        nucleus: its shape.
        chromatin: layers of chromatin dye.
        clumps_um: size of the chromatin's grain.
        contrast: relative strength of that grain.
        cytoplasm: layers of each dye.
        granules: populations of granules.
        nucleoli: least and greatest number.
        vacuoles: greatest number.
        ragged: relative unevenness of the cell's outline.
        rim: how much darker the cytoplasm is at its border than inside.
        hof: how much paler it is beside the nucleus.
        frayed: relative unevenness of the nucleus's outline; above 0.3 it dissolves.
    """

    diameter_um: tuple[float, float]
    nucleus: NucleusShape
    chromatin: float
    clumps_um: float
    contrast: float
    cytoplasm: dict[Dye, float] = field(default_factory=dict)
    granules: tuple[Granules, ...] = ()
    nucleoli: tuple[int, int] = (0, 0)
    vacuoles: int = 0
    ragged: float = 0.02
    rim: float = 0.0
    hof: float = 0.0
    frayed: float = 0.04


_NEUTROPHIL_GRAIN: Final = Granules("azurophil", 3.0, 0.13, 0.16)
_AZUROPHIL: Final = Granules("azurophil", 2.4, 0.21, 0.55, over_nucleus=True)

MORPHOLOGY: Final[dict[CellClass, Morphology]] = {
    CellClass.BAS: Morphology(
        (10.5, 13.0), lobed_nucleus({2: 0.6, 3: 0.4}, 0.38, strand=0.2), 0.78, 0.20, 0.30,
        {"neutrophilia": 0.8}, (Granules("basophil", 2.2, 0.32, 0.55, over_nucleus=True),),
    ),
    CellClass.EBO: Morphology(
        (8.5, 10.5), round_nucleus(0.56, shift=0.14), 1.25, 0.26, 0.24,
        {"haemoglobin": 0.75, "basophilia": 0.3},
    ),
    CellClass.EOS: Morphology(
        (12.0, 14.5), lobed_nucleus({2: 0.8, 3: 0.2}, 0.35, strand=0.09), 1.0, 0.21, 0.34,
        {"neutrophilia": 0.8}, (Granules("eosin", 5.0, 0.34, 0.46),),
    ),
    CellClass.KSC: Morphology(
        (11.0, 15.0), smeared_nucleus(0.85), 0.60, 0.24, 0.34, frayed=0.15,
    ),
    CellClass.LYA: Morphology(
        (13.0, 17.0), round_nucleus(0.62, shift=0.16, oval=0.2), 0.88, 0.21, 0.32,
        {"basophilia": 0.40}, ragged=0.055, rim=1.1, hof=0.3, nucleoli=(0, 1),
    ),
    CellClass.LYT: Morphology(
        (8.8, 11.5), round_nucleus(0.84, shift=0.07, oval=0.12), 1.12, 0.24, 0.28,
        {"basophilia": 0.55}, ragged=0.03, rim=0.2,
    ),
    CellClass.MMZ: Morphology(
        (12.0, 15.0), arched_nucleus(0.42, (100, 135), 0.43, knots=0.05), 1.0, 0.22, 0.36,
        {"neutrophilia": 0.95}, (_NEUTROPHIL_GRAIN,),
    ),
    CellClass.MOB: Morphology(
        (15.0, 19.0), folded_nucleus(0.78, 3), 0.80, 0.15, 0.26,
        {"basophilia": 0.35, "greyness": 0.5}, (Granules("azurophil", 0.5, 0.14, 0.2),),
        nucleoli=(1, 2), vacuoles=4, rim=0.3, ragged=0.035,
    ),
    CellClass.MON: Morphology(
        (14.0, 18.0), arched_nucleus(0.38, (110, 180), 0.42, knots=0.14), 0.92, 0.20, 0.36,
        {"greyness": 0.95}, (Granules("azurophil", 1.2, 0.13, 0.16),),
        vacuoles=5, ragged=0.04, rim=0.15,
    ),
    CellClass.MYB: Morphology(
        (13.0, 16.5), round_nucleus(0.66, shift=0.22, oval=0.16), 0.98, 0.21, 0.34,
        {"neutrophilia": 0.85, "basophilia": 0.18}, (Granules("azurophil", 1.6, 0.18, 0.34),),
        hof=0.25,
    ),
    CellClass.MYO: Morphology(
        (13.0, 17.0), round_nucleus(0.80, shift=0.12, oval=0.14), 0.82, 0.15, 0.25,
        {"basophilia": 0.72}, nucleoli=(1, 4), ragged=0.03, rim=0.4, hof=0.25,
    ),
    CellClass.NGB: Morphology(
        (12.0, 14.5), arched_nucleus(0.50, (190, 265), 0.255, knots=0.10), 1.08, 0.21, 0.34,
        {"neutrophilia": 0.95}, (_NEUTROPHIL_GRAIN,),
    ),
    CellClass.NGS: Morphology(
        (12.0, 14.5), lobed_nucleus({2: 0.15, 3: 0.45, 4: 0.32, 5: 0.08}, 0.315), 1.10, 0.21, 0.36,
        {"neutrophilia": 0.95}, (_NEUTROPHIL_GRAIN,),
    ),
    CellClass.PMB: Morphology(
        (14.5, 18.0), folded_nucleus(0.80, 2), 0.92, 0.17, 0.28,
        {"basophilia": 0.45, "neutrophilia": 0.3}, (_AZUROPHIL,), nucleoli=(0, 2), rim=0.2,
    ),
    CellClass.PMO: Morphology(
        (15.5, 20.0), round_nucleus(0.73, shift=0.18, oval=0.16), 0.92, 0.17, 0.28,
        {"basophilia": 0.5, "neutrophilia": 0.2}, (_AZUROPHIL,),
        nucleoli=(1, 3), rim=0.25, hof=0.4,
    ),
}  # fmt: skip

DEFAULT_MIX: Final[dict[CellClass, float]] = {
    CellClass.NGS: 0.54,
    CellClass.NGB: 0.04,
    CellClass.LYT: 0.27,
    CellClass.MON: 0.065,
    CellClass.EOS: 0.03,
    CellClass.BAS: 0.008,
    CellClass.LYA: 0.012,
    CellClass.MMZ: 0.006,
    CellClass.MYB: 0.005,
    CellClass.PMO: 0.004,
    CellClass.PMB: 0.002,
    CellClass.MOB: 0.002,
    CellClass.EBO: 0.006,
    CellClass.KSC: 0.03,
}
"""Relative frequencies beside the myeloblasts: an adult's differential with a slight left shift."""
