"""Which cells a reader is shown: a bounded choice, whatever the slide holds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.taxonomy import CODES, NAMES, CellClass
from service.contract.cell import Cell

TOP_CELLS: Final = 24
"""Most cells in the galleries of likely blasts and of uncertain cells."""

CLASS_CELLS: Final = 12
"""Most cells in the gallery of one class."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Some cells shown together.

    Attributes:
        title: a heading.
        note: how these were chosen, a sentence.
        cells: in the order shown.
    """

    title: str
    note: str
    cells: tuple[Cell, ...]


def choose_gallery(cells: Sequence[Cell]) -> tuple[Gallery, ...]:
    """The galleries of a report: likely blasts, uncertain cells, then one per class found.

    At most 2 × TOP_CELLS + 15 × CLASS_CELLS cells, a cell counted in each gallery it is in. Empty
    galleries are left out. Equal probabilities keep the order of the cells.
    """
    blasts: list[tuple[float, int]] = []
    uncertain: list[tuple[float, int]] = []
    by_class: dict[CellClass, list[tuple[float, int]]] = defaultdict(list)
    for i, cell in enumerate(cells):
        if cell.p_blast is not None:
            blasts.append((-cell.p_blast, i))
        uncertain.append((cell.top_probability, i))
        by_class[cell.label].append((-cell.top_probability, i))

    def pick(ranked: list[tuple[float, int]]) -> tuple[Cell, ...]:
        return tuple(cells[i] for _, i in ranked)

    galleries = [
        Gallery(
            "Highest blast probability",
            "The cells most like a blast, above the threshold or not.",
            pick(sorted(blasts)[:TOP_CELLS]),
        ),
        Gallery(
            "Most uncertain",
            "The cells whose most probable class is least probable.",
            pick(sorted(uncertain)[:TOP_CELLS]),
        ),
        *(
            Gallery(
                f"{NAMES[code].capitalize()} ({code})",
                _class_note(len(by_class[code])),
                pick(_spread(sorted(by_class[code]), CLASS_CELLS)),
            )
            for code in CODES
        ),
    ]
    return tuple(gallery for gallery in galleries if gallery.cells)


def _class_note(found: int) -> str:
    if found <= CLASS_CELLS:
        return "All cells with this label, from the most to the least probable."
    return (
        f"{CLASS_CELLS} of {found} cells with this label, evenly from the most to the least "
        "probable."
    )


def _spread(ranked: list[tuple[float, int]], at_most: int) -> list[tuple[float, int]]:
    """Evenly spaced members of a ranking, its first and last included."""
    if len(ranked) <= at_most:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (at_most - 1))] for i in range(at_most)]
