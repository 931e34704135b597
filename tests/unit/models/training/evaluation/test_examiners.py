import json

import pytest
from click.testing import CliRunner

from models.taxonomy import CellClass
from models.training.cli import train
from models.training.data.annotations import UNASSIGNED, Annotation, read_annotations
from models.training.evaluation.examiners import measure_examiners

MYO, MOB, MYB, NGS = CellClass.MYO, CellClass.MOB, CellClass.MYB, CellClass.NGS


def rows(*verdicts):
    return [Annotation(f"X/{n}.tiff", *row) for n, row in enumerate(verdicts)]


def point(figures, examiner, group, unc):
    (found,) = [p for p in figures.points if (p.examiner, p.group, p.unc) == (examiner, group, unc)]
    return found


def test_a_monoblast_called_a_myeloblast_is_a_blast_recognised():
    figures = measure_examiners(rows((MOB, MYO, None), (NGS, NGS, None), (NGS, MYB, None)))
    blast = point(figures, "re-annotation 1", "blast", "dropped")
    assert (blast.sensitivity, blast.specificity, blast.n) == (1.0, 1.0, 3)
    atypical = point(figures, "re-annotation 1", "atypical", "dropped")
    assert (atypical.sensitivity, atypical.specificity) == (1.0, 0.5)


def test_an_unassigned_cell_is_dropped_or_counts_as_not_of_the_group():
    figures = measure_examiners(
        rows((MYO, MYO, None), (MYO, UNASSIGNED, None), (NGS, UNASSIGNED, None), (NGS, MYO, None))
    )
    dropped = point(figures, "re-annotation 1", "blast", "dropped")
    assert (dropped.sensitivity, dropped.specificity, dropped.n) == (1.0, 0.0, 2)
    negative = point(figures, "re-annotation 1", "blast", "negative")
    assert (negative.sensitivity, negative.specificity, negative.n) == (0.5, 0.5, 4)


def test_an_examiner_who_saw_no_cell_has_no_point_and_no_agreement():
    figures = measure_examiners(rows((MYO, MYO, None), (NGS, NGS, None)))
    assert {p.examiner for p in figures.points} == {"re-annotation 1"}
    assert [(a.first, a.second) for a in figures.agreement] == [("annotation", "re-annotation 1")]


def test_kappa_is_agreement_beyond_chance():
    """10 cells: 4 both MYO, 3 both NGS, 2 MYO/NGS, 1 NGS/MYO.

    Equal 0.7; chance 0.6 × 0.5 + 0.4 × 0.5 = 0.5; kappa (0.7 − 0.5) / (1 − 0.5) = 0.4.
    """
    figures = measure_examiners(
        rows(
            *[(MYO, MYO, None)] * 4,
            *[(NGS, NGS, None)] * 3,
            *[(MYO, NGS, None)] * 2,
            (NGS, MYO, None),
        )
    )
    (agreement,) = figures.agreement
    assert agreement.equal == pytest.approx(0.7)
    assert agreement.kappa == pytest.approx(0.4)
    myo, ngs = agreement.codes.index("MYO"), agreement.codes.index("NGS")
    assert agreement.counts[myo][ngs] == 2
    assert agreement.counts[ngs][myo] == 1


def test_examiners_who_use_one_code_throughout_agree_fully():
    (agreement,) = measure_examiners(rows((MYO, MYO, None))).agreement
    assert (agreement.equal, agreement.kappa) == (1.0, 1.0)


def test_the_real_file_gives_the_papers_examiner(real_data):
    annotations = read_annotations(real_data / "lmu" / "annotations.dat")
    figures = measure_examiners(annotations)
    assert (figures.annotated, figures.reannotated) == (18_365, 1905)
    blast = point(figures, "re-annotation 1", "blast", "dropped")
    assert f"{blast.sensitivity:.2%} {blast.specificity:.2%}" == "95.67% 91.13%"
    atypical = point(figures, "re-annotation 1", "atypical", "dropped")
    assert f"{atypical.sensitivity:.2%} {atypical.specificity:.2%}" == "95.94% 90.98%"
    for each in figures.points:
        assert each.sensitivity_ci95[0] < each.sensitivity < each.sensitivity_ci95[1]
        assert each.specificity_ci95[0] < each.specificity < each.specificity_ci95[1]
        assert each.n == (1905 if each.unc == "negative" else each.n) <= 1905


def test_the_real_agreement_tables_are_those_that_scikit_learn_counts(real_data):
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    annotations = read_annotations(real_data / "lmu" / "annotations.dat")
    seen = [row for row in annotations if row.first is not None]
    verdicts = {
        "annotation": [str(row.label) for row in seen],
        "re-annotation 1": [str(row.first) for row in seen],
        "re-annotation 2": [str(row.second) for row in seen],
    }
    agreement = measure_examiners(annotations).agreement
    assert len(agreement) == 3
    for table in agreement:
        first, second = verdicts[table.first], verdicts[table.second]
        expected = confusion_matrix(first, second, labels=list(table.codes))
        assert table.counts == tuple(map(tuple, expected.tolist()))
        assert table.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert table.n == 1905


def test_the_command_prints_and_writes_the_same_figures(real_data, tmp_path):
    path = real_data / "lmu" / "annotations.dat"
    runner = CliRunner()
    printed = runner.invoke(train, ["human", "--annotations", str(path), "--json"])
    assert printed.exit_code == 0
    shown = runner.invoke(
        train, ["human", "--annotations", str(path), "--out", str(tmp_path / "new" / "folder")]
    )
    written = json.loads((tmp_path / "new" / "folder" / "examiners.json").read_text())
    assert json.loads(printed.stdout) == written
    markdown = (tmp_path / "new" / "folder" / "examiners.md").read_text()
    assert markdown.strip() == shown.stdout.strip()
    assert "95.67 % (93.8–97.1; 619/647) | 91.13 % (89.4–92.7; 1089/1195)" in markdown


def test_a_broken_annotation_file_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "annotations.dat"
    path.write_text("MYO/a.tiff MYO nan\n")
    result = CliRunner().invoke(train, ["human", "--annotations", str(path)])
    assert result.exit_code == 1
    assert "line 1: 3 fields" in result.output
