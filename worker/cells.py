"""The cells of one scan: arrays inside, `Cell` records outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from models.taxonomy import CODES, INDEX, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.cell import Cell, CellFlag
from service.contract.scan import CellGroup

PROBABILITY_DECIMALS: Final = 6
SUM_TOLERANCE: Final = 1e-3
"""How far from 1 a row of float32 probabilities may add up."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedCells:
    """What detector and classifier say, in any order. N may be 0.

    Attributes:
        centres_l0: shape (N, 2), x and y, level-0 frame, px.
        diameter_um: shape (N,), µm.
        detection_score: shape (N,), 0–1.
        probabilities: shape (N, 15), rows sum to 1, columns in taxonomy order.
        edge: shape (N,), bool: cut by the slide's or the region's edge.
        out_of_focus: shape (N,), bool; None when focus was not measured.

    Raises:
        ValueError: shapes differ, a value is not finite or out of range, a row does not sum to 1.
    """

    centres_l0: NDArray[np.float64]
    diameter_um: NDArray[np.floating]
    detection_score: NDArray[np.floating]
    probabilities: NDArray[np.float32]
    edge: NDArray[np.bool_]
    out_of_focus: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.centres_l0)
        focus = self.edge if self.out_of_focus is None else self.out_of_focus
        for name, array, shape in (
            ("centres_l0", self.centres_l0, (n, 2)),
            ("diameter_um", self.diameter_um, (n,)),
            ("detection_score", self.detection_score, (n,)),
            ("probabilities", self.probabilities, (n, len(CODES))),
            ("edge", self.edge, (n,)),
            ("out_of_focus", focus, (n,)),
        ):
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, {shape} expected")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds a value that is not finite")
        if (self.probabilities < 0).any() or (self.probabilities > 1 + SUM_TOLERANCE).any():
            raise ValueError("a probability outside 0–1")
        if not np.allclose(self.probabilities.sum(axis=1), 1, rtol=0, atol=SUM_TOLERANCE):
            raise ValueError("probabilities of a cell do not sum to 1")


class CellTable(Sequence[Cell]):
    """Cells sorted by y, then x, numbered from 1; a `Cell` is made when asked for.

    Everything is derived from probabilities rounded to 6 decimals, as readers see them.

    Args:
        cells: from detector and classifier.
        unsupported: classes whose probability means nothing; never a label.
        blasts: classes that p_blast sums.
        atypical: classes that p_atypical sums.
        uncertain_below: limit of the `uncertain` flag on the label's probability.
        unfamiliar_above: limit of the `unfamiliar` flag on the probabilities' entropy, nats; None
            flags no cell.

    Attributes:
        order: shape (N,), the row in `cells` of each cell here.
        probabilities: shape (N, 15), float64, rounded.
        labels: shape (N,), column of each cell's label.
        p_blast, p_atypical: shape (N,), or None when no class of the group is supported.
        is_leukocyte: shape (N,), labelled neither EBO nor KSC.
        edge, uncertain: shape (N,), bool.
        unfamiliar: shape (N,), bool; None without a limit.
        out_of_focus: shape (N,), bool; None when not measured.

    Raises:
        ValueError: an unsupported class has a probability above 0.001: the model did not mask it.
    """

    def __init__(
        self,
        cells: ClassifiedCells,
        *,
        unsupported: Sequence[CellClass],
        blasts: CellGroup,
        atypical: CellGroup,
        uncertain_below: float,
        unfamiliar_above: float | None = None,
    ) -> None:
        centres = np.round(cells.centres_l0, 2)
        self.order: NDArray[np.intp] = np.lexsort((centres[:, 0], centres[:, 1]))
        self._centres = centres[self.order]
        self._diameter_um = np.round(cells.diameter_um[self.order].astype(np.float64), 2)
        self._score = np.round(cells.detection_score[self.order].astype(np.float64), 4)
        self.edge = cells.edge[self.order]
        self.out_of_focus = None if cells.out_of_focus is None else cells.out_of_focus[self.order]

        self._supported = tuple(code for code in CODES if code not in unsupported)
        probabilities = cells.probabilities[self.order].astype(np.float64)
        masked = [INDEX[code] for code in unsupported]
        if (probabilities[:, masked] > SUM_TOLERANCE).any():
            raise ValueError("an unsupported class has a probability: the model did not mask it")
        probabilities[:, masked] = 0
        self.probabilities = np.round(probabilities, PROBABILITY_DECIMALS).clip(0, 1)
        columns = np.array([INDEX[code] for code in self._supported])
        self.labels: NDArray[np.intp] = columns[self.probabilities[:, columns].argmax(axis=1)]
        self.uncertain = self.probabilities.max(axis=1, initial=0) < uncertain_below
        self.unfamiliar: NDArray[np.bool_] | None = None
        if unfamiliar_above is not None:
            self.unfamiliar = entr(self.probabilities).sum(axis=1) > unfamiliar_above
        self.is_leukocyte = ~np.isin(self.labels, [INDEX[code] for code in NOT_IN_DIFFERENTIAL])
        self.p_blast = self._sum(blasts)
        self.p_atypical = self._sum(atypical)

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Cell, ...]: ...
    def __getitem__(self, index: int | slice) -> Cell | tuple[Cell, ...]:
        rows = range(len(self))[index]
        return self._cell(rows) if isinstance(rows, int) else tuple(map(self._cell, rows))

    def _sum(self, group: CellGroup) -> NDArray[np.float64] | None:
        columns = [INDEX[code] for code in group.classes if code in self._supported]
        if not columns:
            return None
        total: NDArray[np.float64] = self.probabilities[:, columns].sum(axis=1)
        return total.round(PROBABILITY_DECIMALS).clip(0, 1)

    def _cell(self, i: int) -> Cell:
        raised = {
            CellFlag.EDGE: self.edge[i],
            CellFlag.OUT_OF_FOCUS: self.out_of_focus is not None and self.out_of_focus[i],
            CellFlag.UNCERTAIN: self.uncertain[i],
            CellFlag.UNFAMILIAR: self.unfamiliar is not None and self.unfamiliar[i],
        }
        return Cell(
            id=i + 1,
            x_px=float(self._centres[i, 0]),
            y_px=float(self._centres[i, 1]),
            diameter_um=float(self._diameter_um[i]),
            detection_score=float(self._score[i]),
            label=CODES[self.labels[i]],
            p_blast=None if self.p_blast is None else float(self.p_blast[i]),
            p_atypical=None if self.p_atypical is None else float(self.p_atypical[i]),
            probabilities={
                code: float(self.probabilities[i, INDEX[code]]) for code in self._supported
            },
            flags=tuple(flag for flag, is_raised in raised.items() if is_raised),
        )
