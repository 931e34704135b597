"""The 15 leukocyte classes of Matek et al. 2019, their order and their groups.

Source: Matek C, Schwarz S, Spiekermann K, Marr C. "Human-level recognition of blast cells in
acute myeloid leukemia with convolutional neural networks." Nat Mach Intell 1, 538–544 (2019),
Table 1 and Fig. 3. Pure Python: the service imports it without torch.
"""

from enum import StrEnum
from typing import Final, Literal


class CellClass(StrEnum):
    """A leukocyte class, in the fixed column order used everywhere.

    MYO is the *myeloblast*, MYB the *myelocyte*: public code often swaps the two.
    """

    BAS = "BAS"
    EBO = "EBO"
    EOS = "EOS"
    KSC = "KSC"
    LYA = "LYA"
    LYT = "LYT"
    MMZ = "MMZ"
    MOB = "MOB"
    MON = "MON"
    MYB = "MYB"
    MYO = "MYO"
    NGB = "NGB"
    NGS = "NGS"
    PMB = "PMB"
    PMO = "PMO"


CODES: Final[tuple[CellClass, ...]] = tuple(CellClass)
"""All classes in taxonomy order: the order of every probability vector."""

INDEX: Final[dict[CellClass, int]] = {code: i for i, code in enumerate(CODES)}

NAMES: Final[dict[CellClass, str]] = {
    CellClass.BAS: "basophil",
    CellClass.EBO: "erythroblast",
    CellClass.EOS: "eosinophil",
    CellClass.KSC: "smudge cell",
    CellClass.LYA: "atypical lymphocyte",
    CellClass.LYT: "typical lymphocyte",
    CellClass.MMZ: "metamyelocyte",
    CellClass.MOB: "monoblast",
    CellClass.MON: "monocyte",
    CellClass.MYB: "myelocyte",
    CellClass.MYO: "myeloblast",
    CellClass.NGB: "band neutrophil",
    CellClass.NGS: "segmented neutrophil",
    CellClass.PMB: "bilobed promyelocyte",
    CellClass.PMO: "promyelocyte",
}

BLAST: Final[frozenset[CellClass]] = frozenset({CellClass.MYO, CellClass.MOB})
"""P_blast = P(MYO) + P(MOB) (Matek et al. 2019, Fig. 3C)."""

ATYPICAL: Final[frozenset[CellClass]] = BLAST | {
    CellClass.MYB,
    CellClass.MMZ,
    CellClass.PMO,
    CellClass.PMB,
    CellClass.EBO,
    CellClass.LYA,
}
"""Cells absent from healthy blood (Matek et al. 2019, Fig. 3D)."""

GroupName = Literal["blast", "atypical"]

GROUPS: Final[dict[GroupName, frozenset[CellClass]]] = {"blast": BLAST, "atypical": ATYPICAL}
"""The groups by the name that figures bear."""

NOT_IN_DIFFERENTIAL: Final[frozenset[CellClass]] = frozenset({CellClass.EBO, CellClass.KSC})
"""Reported per 100 leukocytes beside the differential, never in its denominator."""
