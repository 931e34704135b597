"""The one table of codes and units that FHIR and HL7 v2 share.

Every value has a code of our own; LOINC stands beside it only where the LOINC term means the very
same number (docs/decisions/0013). Codes and names are those of LOINC's terms "…/100 leukocytes in
Blood". 26464-8 and its kin count cells per volume of blood, which no smear shows: they are not
here. Left to our own code alone:

- LYA may be reactive or neoplastic, which LOINC tells apart (13046-8, 30413-9);
- PMO lacks the bilobed promyelocytes that 26524-9 includes, and PMB has no term at all;
- KSC are counted outside the denominator, those of 34992-8 as a fraction of leukocytes;
- blasts, when the group is not myeloblasts and monoblasts or the model misses one of them.
"""

from dataclasses import dataclass
from typing import Final

from models.taxonomy import ATYPICAL, BLAST, NAMES, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.report import GroupCount

LOCAL_SYSTEM: Final = "urn:smearscan:code"
"""Of our own codes in FHIR; "urn:smearscan" is not registered with IANA."""

LOCAL_SYSTEM_V2: Final = "99SMS"
"""The same in HL7 v2: table 0396 leaves 99zzz to local systems."""


@dataclass(frozen=True, slots=True)
class Term:
    """A LOINC term.

    Attributes:
        code: LOINC number with its check digit.
        name: LOINC's long common name.
    """

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Code:
    """What a value is.

    Attributes:
        code: ours.
        name: in words.
        loinc: the same thing in LOINC; None where LOINC has none, or not quite the same.
    """

    code: str
    name: str
    loinc: Term | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure.

    Attributes:
        ucum: its UCUM code.
        name: as a person reads it.
    """

    ucum: str
    name: str


PERCENT: Final = Unit("%", "%")
PER_100_LEUKOCYTES: Final = Unit("/100{WBCs}", "per 100 leukocytes")
CELLS: Final = Unit("{cells}", "cells")
OBJECTS: Final = Unit("{objects}", "objects")
TILES: Final = Unit("{tiles}", "tiles")
MM2: Final = Unit("mm2", "mm²")
PROBABILITY: Final = Unit("1", "probability")

LOINC_OF_CLASS: Final[dict[CellClass, Term]] = {
    CellClass.BAS: Term("30180-4", "Basophils/100 leukocytes in Blood"),
    CellClass.EBO: Term("19048-8", "Nucleated erythrocytes/100 leukocytes [Ratio] in Blood"),
    CellClass.EOS: Term("26450-7", "Eosinophils/100 leukocytes in Blood"),
    CellClass.LYT: Term("26478-8", "Lymphocytes/100 leukocytes in Blood"),
    CellClass.MMZ: Term("28541-1", "Metamyelocytes/100 leukocytes in Blood"),
    CellClass.MOB: Term("34923-3", "Monoblasts/100 leukocytes in Blood"),
    CellClass.MON: Term("26485-3", "Monocytes/100 leukocytes in Blood"),
    CellClass.MYB: Term("26498-6", "Myelocytes/100 leukocytes in Blood"),
    CellClass.MYO: Term("30445-1", "Myeloblasts/100 leukocytes in Blood"),
    CellClass.NGB: Term("26508-2", "Band form neutrophils/100 leukocytes in Blood"),
    CellClass.NGS: Term("26505-8", "Segmented neutrophils/100 leukocytes in Blood"),
}
LOINC_BLASTS: Final = Term("26446-5", "Blasts/100 leukocytes in Blood")

PANEL: Final = Code("DIFF", "Leukocyte differential by image analysis of a blood smear")


def code_class(cell_class: CellClass) -> Code:
    """A class's part of the leukocytes, or its number per 100 of them."""
    of = "per 100 leukocytes" if cell_class in NOT_IN_DIFFERENTIAL else "percent of leukocytes"
    name = NAMES[cell_class]
    return Code(
        cell_class.value,
        f"{name[0].upper()}{name[1:]}, {of}",
        LOINC_OF_CLASS.get(cell_class),
    )


def code_blasts(group: GroupCount) -> Code:
    """Blasts' part of the leukocytes.

    A group of other classes than the taxonomy's has another code, so that no system files it as
    blasts unasked. LOINC's code needs a model, too, that recognises each of the classes.
    """
    if frozenset(group.classes) != BLAST:
        return Code("BLAST-REGROUPED", "Blasts as regrouped, percent of leukocytes")
    term = None if group.unsupported_classes else LOINC_BLASTS
    return Code("BLAST", "Blasts, percent of leukocytes", term)


def code_atypical(group: GroupCount) -> Code:
    """Atypical cells' part of the leukocytes; LOINC has no such group."""
    if frozenset(group.classes) != ATYPICAL:
        return Code("ATYPICAL-REGROUPED", "Atypical cells as regrouped, percent of leukocytes")
    return Code("ATYPICAL", "Atypical cells, percent of leukocytes")
