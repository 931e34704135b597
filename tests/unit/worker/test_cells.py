from dataclasses import replace

import numpy as np
import pytest

from models.taxonomy import CODES, INDEX, CellClass
from service.contract.cell import CellFlag
from service.contract.scan import ATYPICALS, BLASTS
from tests.analyses import CLASSIFIER, cells_of, certain, random_cells
from worker.cells import CellTable, ClassifiedCells


def table_of(
    cells: ClassifiedCells, uncertain_below: float = 0.5, unfamiliar_above: float | None = None
) -> CellTable:
    return CellTable(
        cells,
        unsupported=CLASSIFIER.unsupported_classes,
        blasts=BLASTS,
        atypical=ATYPICALS,
        uncertain_below=uncertain_below,
        unfamiliar_above=unfamiliar_above,
    )


def test_cells_are_numbered_by_y_then_x() -> None:
    cells = replace(
        cells_of(*[certain(CellClass.NGS)] * 4),
        centres_l0=np.array([[9.0, 2.0], [5.0, 1.0], [3.0, 2.0], [7.0, 1.0]]),
    )
    table = table_of(cells)
    assert [(cell.id, cell.x_px, cell.y_px) for cell in table] == [
        (1, 5.0, 1.0),
        (2, 7.0, 1.0),
        (3, 3.0, 2.0),
        (4, 9.0, 2.0),
    ]
    assert table.order.tolist() == [1, 3, 2, 0]


def test_the_order_of_arrival_does_not_matter() -> None:
    cells = random_cells(50)
    shuffle = np.random.default_rng(1).permutation(50)
    assert cells.out_of_focus is not None
    shuffled = ClassifiedCells(
        centres_l0=cells.centres_l0[shuffle],
        diameter_um=cells.diameter_um[shuffle],
        detection_score=cells.detection_score[shuffle],
        probabilities=cells.probabilities[shuffle],
        edge=cells.edge[shuffle],
        out_of_focus=cells.out_of_focus[shuffle],
    )
    assert list(table_of(cells)) == list(table_of(shuffled))


def test_the_label_is_the_most_probable_class() -> None:
    assert table_of(cells_of(certain(CellClass.EOS, 0.7)))[0].label is CellClass.EOS


def test_p_blast_is_the_sum_over_supported_blast_classes() -> None:
    (cell,) = table_of(cells_of(certain(CellClass.MYO, 0.7)))
    assert cell.p_blast == 0.7
    assert cell.p_atypical == 0.7


def test_an_unsupported_class_has_no_probability_at_all() -> None:
    (cell,) = table_of(cells_of(certain(CellClass.NGS)))
    assert set(cell.probabilities) == set(CODES) - set(CLASSIFIER.unsupported_classes)


@pytest.mark.parametrize(("probability", "is_refused"), [(0.0009, False), (0.0011, True)])
def test_a_probability_of_an_unsupported_class_is_refused(
    probability: float, is_refused: bool
) -> None:
    row = certain(CellClass.NGS, 1 - probability)
    row[INDEX[CellClass.LYT]] = 0
    row[INDEX[CellClass.MOB]] = probability
    if is_refused:
        with pytest.raises(ValueError, match="did not mask it"):
            table_of(cells_of(row))
    else:
        assert len(table_of(cells_of(row))) == 1


@pytest.mark.parametrize(("probability", "is_flagged"), [(0.6, False), (0.59, True)])
def test_a_cell_below_the_limit_is_uncertain(probability: float, is_flagged: bool) -> None:
    (cell,) = table_of(cells_of(certain(CellClass.EOS, probability)), uncertain_below=0.6)
    assert (CellFlag.UNCERTAIN in cell.flags) is is_flagged


def test_flags_of_the_detector_are_kept() -> None:
    cells = replace(
        cells_of(certain(CellClass.NGS)), edge=np.array([True]), out_of_focus=np.array([True])
    )
    assert table_of(cells)[0].flags == (CellFlag.EDGE, CellFlag.OUT_OF_FOCUS)


def test_focus_may_be_unmeasured() -> None:
    table = table_of(replace(cells_of(certain(CellClass.NGS)), out_of_focus=None))
    assert table[0].flags == ()
    assert table.out_of_focus is None


def test_no_cells_make_an_empty_table() -> None:
    assert list(table_of(cells_of())) == []


def test_a_slice_is_some_cells() -> None:
    table = table_of(random_cells(10))
    assert table[2:4] == (table[2], table[3])
    assert table[-1].id == 10


def test_a_cell_beyond_the_last_is_an_error() -> None:
    with pytest.raises(IndexError):
        table_of(random_cells(10))[10]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"diameter_um": np.ones(3)}, "diameter_um has shape"),
        ({"probabilities": np.zeros((2, 14), np.float32)}, "probabilities has shape"),
        ({"out_of_focus": np.zeros(3, bool)}, "out_of_focus has shape"),
        ({"centres_l0": np.array([[1.0, np.nan], [0.0, 0.0]])}, "not finite"),
        ({"probabilities": np.full((2, 15), 0.1, np.float32)}, "do not sum to 1"),
        ({"probabilities": np.eye(2, 15, dtype=np.float32) * 3 - 1}, "outside 0–1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(cells_of(*[certain(CellClass.NGS)] * 2), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit", "is_flagged"), [(0.69, True), (0.70, False)])
def test_a_cell_whose_probabilities_are_spread_beyond_the_limit_is_unfamiliar(
    limit: float, is_flagged: bool
) -> None:
    # two classes of one half each: ln 2 = 0.693
    table = table_of(cells_of(certain(CellClass.EOS, 0.5)), unfamiliar_above=limit)
    assert (CellFlag.UNFAMILIAR in table[0].flags) is is_flagged


def test_without_a_limit_no_cell_is_unfamiliar() -> None:
    table = table_of(cells_of(certain(CellClass.EOS, 0.5)))
    assert table.unfamiliar is None
    assert CellFlag.UNFAMILIAR not in table[0].flags
