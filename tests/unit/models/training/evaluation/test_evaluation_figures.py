from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pytest

from models.taxonomy import CODES, CellClass
from models.training.evaluation.calibration import bin_reliability
from models.training.evaluation.figures.confusion_matrix import draw_confusion
from models.training.evaluation.figures.reliability import draw_reliability
from models.training.evaluation.figures.roc_curves import draw_roc
from models.training.evaluation.figures.saliency_panel import Example, draw_saliency
from models.training.evaluation.figures.style import save_figure
from models.training.evaluation.operating import trace_roc
from models.training.evaluation.records import Calibration, Figure


@dataclass
class Point:
    examiner: str
    group: str
    unc: str
    sensitivity: float
    specificity: float
    n: int


POINTS = [
    Point("1", "blast", "dropped", 0.957, 0.911, 1900),
    Point("1", "atypical", "dropped", 0.5, 0.5, 1900),
]


def number(value=0.9):
    return Figure(value=value, ci95=(0.85, 0.95), fold_mean=0.9, fold_sd=0.01, folds=(0.9, 0.9))


def make_curves():
    rng = np.random.default_rng(0)
    member = rng.random(200) < 0.4
    scores = rng.normal(size=200) + 2 * member
    return trace_roc(scores, member), [trace_roc(scores[i::2], member[i::2]) for i in (0, 1)]


def roc(auc=0.9, **options):
    pooled, folds = make_curves()
    return draw_roc(pooled, folds, number(auc), group="blast", title="Blasts", **options)


def confusion():
    counts = np.zeros((15, 15), np.int64)
    counts[0, :3] = (6, 3, 1)
    return draw_confusion(counts, CODES, rows="true class", columns="predicted class")


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_same_figure_is_the_same_bytes_without_a_date(tmp_path):
    first, again = save_figure(roc(), tmp_path / "a"), save_figure(roc(), tmp_path / "b")
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"<dc:date>" not in first[0].read_bytes()
    assert b"CreationDate" not in first[1].read_bytes()


def test_a_dot_in_the_stem_is_not_taken_for_a_suffix(tmp_path):
    svg, pdf = save_figure(confusion(), tmp_path / "v1.2")
    assert (svg.name, pdf.name) == ("v1.2.svg", "v1.2.pdf")


def test_drawing_leaves_matplotlibs_settings_as_they_were():
    before = dict(mpl.rcParams)
    roc()
    confusion()
    assert dict(mpl.rcParams) == before


def test_the_matrix_shows_shares_of_the_row_and_the_rows_count():
    axes = confusion().axes[0]
    assert [text.get_text() for text in axes.texts] == [".60", ".30", ".10"]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["BAS  10", "EBO  0"]
    shown = axes.images[0].get_array()
    assert shown[0, :3].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert shown.mask[1].all()


def test_every_fold_and_all_cells_are_drawn_from_corner_to_corner():
    figure = roc()
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(curves) == 3
    for line in curves:
        assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 0)
        assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (1, 1)
    assert legend(figure) == [
        "folds (2): AUC 0.900 ± 0.010 (mean ± sd)",
        "all held-out cells: AUC 0.900 [0.850, 0.950]",
    ]


def test_only_this_groups_examiners_are_marked_at_one_minus_specificity():
    axes = roc(examiners=POINTS).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks] == [
        (pytest.approx(0.089), pytest.approx(0.957))
    ]


def test_published_points_are_drawn_on_request_only_and_under_their_name():
    assert not any("Matek" in text for text in legend(roc(examiners=POINTS)))
    assert sum("Matek et al. 2019" in text for text in legend(roc(paper_reference=True))) == 1


def test_the_corner_is_not_enlarged_over_a_poor_curve():
    assert len(roc(0.9).axes[0].child_axes) == 1
    assert len(roc(0.7).axes[0].child_axes) == 0


def test_the_reliability_diagram_shows_the_cells_of_every_bin():
    bins = bin_reliability(np.array([0.1, 0.1, 0.9]), np.array([False, True, True]))
    calibration = Calibration(
        ece=number(0.1),
        brier=number(),
        log_loss=number(),
        log_loss_cells=3,
        top_class=bins,
        blast=(),
    )
    figure = draw_reliability(calibration, title="x")
    assert [bar.get_height() for bar in figure.axes[2].patches] == [2, 1]
    assert len(figure.axes[3].patches) == 0


def test_the_panel_has_a_row_a_class_and_says_what_a_cell_was_taken_for(tmp_path):
    patch = np.full((40, 40, 3), 200, np.uint8)
    saliency = np.zeros((40, 40), np.float32)
    examples = [
        Example(patch, saliency, CellClass.MYO, CellClass.MYO),
        Example(patch, saliency, CellClass.MYO, CellClass.PMO),
        Example(patch, saliency, CellClass.LYT, CellClass.LYT),
    ]
    figure = draw_saliency(examples)
    assert len(figure.axes) == 2 * 8
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["PMO"]
    shown = [len(axes.images) for axes in figure.axes]
    assert shown == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    svg, _ = save_figure(figure, tmp_path / "panel")
    assert svg.stat().st_size > 1000
