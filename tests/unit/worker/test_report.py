from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.taxonomy import CODES, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.report import Report
from service.contract.scan import BLASTS, CellGroup, ScanParameters
from tests.analyses import (
    CLASSIFIER,
    SETTINGS,
    analysis_of,
    cells_of,
    cells_with,
    certain,
    random_cells,
    report_of,
)
from tests.golden import GOLDEN_REPORT, golden_report
from worker.report import build_report

SUPPORTED = [code for code in CODES if code not in CLASSIFIER.unsupported_classes]
smears = st.dictionaries(st.sampled_from(SUPPORTED), st.integers(0, 40))


def test_the_golden_report_is_built_from_its_cells() -> None:
    assert golden_report() == Report.model_validate_json(GOLDEN_REPORT.read_text("utf-8"))


def test_the_same_analysis_gives_the_same_report() -> None:
    analysis = analysis_of(random_cells(100))
    assert build_report(analysis, SETTINGS)[0] == build_report(analysis, SETTINGS)[0]


def test_an_empty_slide_has_no_percentages() -> None:
    report, cells = report_of(cells_of())
    assert (report.n_cells, report.n_leukocytes, len(cells)) == (0, 0, 0)
    assert report.counts[CellClass.NGS] == 0
    assert {share.percent for share in report.differential.values() if share} == {None}
    assert {share.ci95 for share in report.differential.values() if share} == {None}
    assert set(report.per_100_leukocytes.values()) == {None}
    assert (report.blast.count, report.blast.percent, report.blast.ci95) == (0, None, None)
    assert report.blast.expected_count == 0


def test_erythroblasts_and_smudge_cells_are_beside_the_differential() -> None:
    report, _ = report_of(
        cells_with({CellClass.NGS: 40, CellClass.LYT: 10, CellClass.EBO: 5, CellClass.KSC: 60})
    )
    assert report.n_leukocytes == 50
    assert report.per_100_leukocytes == {CellClass.EBO: 10.0, CellClass.KSC: 120.0}
    neutrophils = report.differential[CellClass.NGS]
    assert neutrophils is not None
    assert neutrophils.percent == 80.0


def test_smudge_cells_alone_have_no_rate() -> None:
    report, _ = report_of(cells_with({CellClass.KSC: 3}))
    assert report.counts[CellClass.KSC] == 3
    assert report.per_100_leukocytes[CellClass.KSC] is None


@pytest.mark.parametrize(("probability", "count"), [(0.5, 1), (0.499, 0)])
def test_a_cell_at_the_threshold_is_a_blast(probability: float, count: int) -> None:
    report, _ = report_of(cells_of(certain(CellClass.MYO, probability)))
    assert report.blast.count == count
    assert report.blast.expected_count == probability


def test_a_blast_needs_the_threshold_not_the_label() -> None:
    row = certain(CellClass.MYO, 0.45)
    low = CLASSIFIER.model_copy(
        update={"thresholds": CLASSIFIER.thresholds.model_copy(update={"blast": 0.45})}
    )
    report, cells = report_of(cells_of(row), classifier=low)
    assert cells[0].label is CellClass.NGS
    assert report.blast.count == 1


def test_erythroblasts_above_the_atypical_threshold_are_named_but_not_in_the_percentage() -> None:
    report, _ = report_of(
        cells_with({CellClass.NGS: 90, CellClass.MYO: 10, CellClass.EBO: 7, CellClass.KSC: 2})
    )
    assert (report.atypical.count, report.atypical.percent) == (10, 10.0)
    assert report.atypical.expected_count == 10
    assert report.atypical.outside_denominator == 7


def test_other_blast_equivalents_are_counted_and_named() -> None:
    apl = CellGroup(name="APL blasts", classes=(*BLASTS.classes, CellClass.PMO))
    report, _ = report_of(
        cells_with({CellClass.PMO: 3, CellClass.NGS: 7}), parameters=ScanParameters(blasts=apl)
    )
    assert (report.blast.name, report.blast.count) == ("APL blasts", 3)
    assert CellClass.PMO in report.blast.classes


def test_a_group_of_unsupported_classes_is_null_not_zero() -> None:
    monoblasts = CellGroup(name="monoblasts", classes=(CellClass.MOB,))
    report, cells = report_of(random_cells(20), parameters=ScanParameters(blasts=monoblasts))
    blast = report.blast
    assert (blast.count, blast.percent, blast.ci95, blast.expected_count) == (None,) * 4
    assert cells[0].p_blast is None


def test_the_share_is_corrected_beside_the_raw_one() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 140, CellClass.MYO: 60}))
    blast = report.blast
    assert blast.adjusted is not None
    assert blast.percent == 30.0
    # sensitivity about 0.75, specificity about 0.95: (0.30 − 0.05) / 0.70
    assert blast.adjusted.percent == pytest.approx(36, abs=3)
    low, high = blast.adjusted.ci95
    assert blast.ci95 is not None
    assert low < 36 < high
    assert high - low > blast.ci95[1] - blast.ci95[0]
    # of 200 mature cells 0.025 are called on average
    assert 200 * 0.025 < blast.adjusted.limit_of_blank < 20
    assert blast.adjusted.limit_of_detection is not None
    assert 100 * blast.adjusted.limit_of_blank / 200 < blast.adjusted.limit_of_detection < 40


def test_nothing_is_corrected_without_known_errors_or_leukocytes() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 10}))
    assert report.atypical.adjusted is None
    report, _ = report_of(cells_of())
    assert report.blast.adjusted is None


def test_another_grouping_is_not_corrected_by_errors_that_are_not_its_own() -> None:
    apl = CellGroup(name="APL blasts", classes=(*BLASTS.classes, CellClass.PMO))
    report, _ = report_of(
        cells_with({CellClass.PMO: 3, CellClass.NGS: 7}), parameters=ScanParameters(blasts=apl)
    )
    assert report.blast.adjusted is None


@pytest.mark.parametrize(("asked", "share"), [(None, 1.0), (0.6, 0.0)])
def test_the_cards_limit_of_uncertainty_holds_unless_the_installation_has_one(
    asked: float | None, share: float
) -> None:
    strict = CLASSIFIER.model_copy(update={"uncertain_below": 0.8})
    analysis = analysis_of(cells_of(certain(CellClass.NGS, 0.7)), classifier=strict)
    report, _ = build_report(analysis, SETTINGS.model_copy(update={"uncertain_below": asked}))
    assert report.quality.uncertain_share == share
    assert report.quality.uncertain_below == (asked or 0.8)


def test_flagged_cells_are_counted() -> None:
    cells = cells_of(certain(CellClass.NGS, 0.4))
    report, _ = report_of(replace(cells, edge=np.array([True]), out_of_focus=np.array([True])))
    assert report.n_leukocytes == 1
    assert report.quality.edge_cells == 1


@settings(deadline=None)
@given(smears)
def test_counts_and_percentages_add_up(smear: dict[CellClass, int]) -> None:
    report, _ = report_of(cells_with(smear))
    leukocytes = sum(n for code, n in smear.items() if code not in NOT_IN_DIFFERENTIAL)
    assert report.n_cells == sum(smear.values())
    assert report.n_leukocytes == leukocytes
    assert {c: n for c, n in report.counts.items() if n} == {c: n for c, n in smear.items() if n}
    shares = [share.percent for share in report.differential.values() if share]
    if leukocytes:
        assert sum(share or 0 for share in shares) == pytest.approx(100, abs=1e-3)
    else:
        assert set(shares) == {None}


@settings(deadline=None)
@given(smears)
def test_a_certain_model_counts_what_it_expects(smear: dict[CellClass, int]) -> None:
    report, _ = report_of(cells_with(smear))
    for group in (report.blast, report.atypical):
        assert group.count == group.expected_count
        assert group.count is not None
        assert group.count <= group.n_leukocytes
    assert report.blast.count == smear.get(CellClass.MYO, 0)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 10_000))
def test_every_number_follows_from_the_cells_as_read(n: int, seed: int) -> None:
    report, cells = report_of(random_cells(n, seed))
    leukocytes = [cell for cell in cells if cell.label not in NOT_IN_DIFFERENTIAL]
    positive = [cell for cell in leukocytes if (cell.p_blast or 0) >= report.blast.threshold]
    assert report.blast.count == len(positive)
    expected = sum(cell.p_blast or 0 for cell in leukocytes)
    assert report.blast.expected_count == pytest.approx(expected, abs=1e-4)
