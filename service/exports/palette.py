"""One colour a class, one colour and one shape a group, wherever cells are drawn.

Group colours are from Okabe & Ito's colour-blind-safe set ("Color Universal Design", 2008); the
shape says the same to who sees no colour. Class colours are for QuPath, where the name stands
beside them: a family of cells shares a hue.
"""

from enum import StrEnum
from typing import Final

from models.taxonomy import CellClass
from service.contract.cell import Cell
from service.contract.report import Report

Rgb = tuple[int, int, int]
"""Red, green, blue, 0–255."""


class Marker(StrEnum):
    """How a cell is drawn on the overview."""

    BLAST = "blast"
    ATYPICAL = "atypical"
    OTHER = "other"


MARKER_COLOURS: Final[dict[Marker, Rgb]] = {
    Marker.BLAST: (213, 94, 0),
    Marker.ATYPICAL: (0, 114, 178),
    Marker.OTHER: (60, 60, 60),
}
"""Vermillion triangle, blue diamond, dark grey dot."""

CLASS_COLOURS: Final[dict[CellClass, Rgb]] = {
    CellClass.BAS: (68, 1, 84),
    CellClass.EBO: (160, 30, 60),
    CellClass.EOS: (230, 159, 0),
    CellClass.KSC: (150, 150, 150),
    CellClass.LYA: (0, 114, 178),
    CellClass.LYT: (86, 180, 233),
    CellClass.MMZ: (190, 174, 60),
    CellClass.MOB: (170, 50, 0),
    CellClass.MON: (204, 121, 167),
    CellClass.MYB: (160, 140, 30),
    CellClass.MYO: (213, 94, 0),
    CellClass.NGB: (0, 190, 140),
    CellClass.NGS: (0, 158, 115),
    CellClass.PMB: (100, 85, 10),
    CellClass.PMO: (130, 110, 20),
}


def choose_marker(report: Report, cell: Cell) -> Marker:
    """Blast before atypical before other, by the report's thresholds."""
    if report.blast.is_positive(cell.p_blast):
        return Marker.BLAST
    if report.atypical.is_positive(cell.p_atypical):
        return Marker.ATYPICAL
    return Marker.OTHER
