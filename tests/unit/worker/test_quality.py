from dataclasses import replace

import numpy as np
import pytest

from models.taxonomy import CellClass
from service.contract.quality import QualityCode, QualityFlag, Severity
from service.contract.report import ModelThresholds, Report
from service.contract.scan import BLASTS, CellGroup, RegionChoice, ScanParameters
from tests.analyses import (
    CLASSIFIER,
    REGION,
    SLIDE,
    cells_of,
    cells_with,
    certain,
    report_of,
)
from worker.stain_distance import StainDistance

CLEAN_REGION = REGION.model_copy(update={"tiles_failed": 0, "coverage": 1.0, "doubtful_objects": 0})
CLEAN_CLASSIFIER = CLASSIFIER.model_copy(
    update={"unsupported_classes": (), "thresholds": ModelThresholds(blast=0.5, atypical=0.5)}
)
CLEAN = {
    "region": CLEAN_REGION,
    "classifier": CLEAN_CLASSIFIER,
    "slide": replace(SLIDE, um_per_px=0.0725),
}
ENOUGH = cells_with({CellClass.NGS: 200})


def flags(report: Report) -> dict[QualityCode, QualityFlag]:
    return {flag.code: flag for flag in report.quality.flags}


def flags_of(cells: object = ENOUGH, **changes: object) -> dict[QualityCode, QualityFlag]:
    return flags(report_of(cells, **(CLEAN | changes))[0])  # type: ignore[arg-type]


def test_a_clean_scan_has_no_flags() -> None:
    assert flags_of() == {}


@pytest.mark.parametrize(
    ("n", "code", "severity"),
    [
        (0, QualityCode.NO_LEUKOCYTES, Severity.WARNING),
        (1, QualityCode.FEW_LEUKOCYTES, Severity.WARNING),
        (99, QualityCode.FEW_LEUKOCYTES, Severity.WARNING),
        (100, QualityCode.FEW_LEUKOCYTES, Severity.NOTICE),
        (199, QualityCode.FEW_LEUKOCYTES, Severity.NOTICE),
    ],
)
def test_few_leukocytes_are_said(n: int, code: QualityCode, severity: Severity) -> None:
    (flag,) = flags_of(cells_with({CellClass.NGS: n})).values()
    assert (flag.code, flag.severity, flag.value) == (code, severity, n)


@pytest.mark.parametrize(("smudges", "is_flagged"), [(40, False), (41, True)])
def test_many_smudge_cells_are_said(smudges: int, is_flagged: bool) -> None:
    cells = cells_with({CellClass.NGS: 200, CellClass.KSC: smudges})
    assert (QualityCode.SMUDGE_CELLS in flags_of(cells)) is is_flagged


@pytest.mark.parametrize(("coverage", "is_flagged"), [(0.95, False), (0.949, True)])
def test_low_coverage_is_said(coverage: float, is_flagged: bool) -> None:
    region = CLEAN_REGION.model_copy(update={"coverage": coverage})
    assert (QualityCode.COVERAGE_LOW in flags_of(region=region)) is is_flagged


@pytest.mark.parametrize(
    ("field", "code"),
    [("tiles_failed", QualityCode.TILES_FAILED), ("cells_unread", QualityCode.CELLS_UNREAD)],
)
def test_whatever_could_not_be_read_is_said(field: str, code: QualityCode) -> None:
    (flag,) = flags_of(region=CLEAN_REGION.model_copy(update={field: 1})).values()
    assert (flag.code, flag.severity, flag.value) == (code, Severity.NOTICE, 1)


@pytest.mark.parametrize(("doubtful", "is_flagged"), [(33, False), (34, True)])
def test_many_objects_that_may_be_leukocytes_are_said(doubtful: int, is_flagged: bool) -> None:
    found = flags_of(region=CLEAN_REGION.model_copy(update={"doubtful_objects": doubtful}))
    assert (QualityCode.DOUBTFUL_OBJECTS in found) is is_flagged
    for flag in found.values():
        assert flag.severity is Severity.WARNING
        assert flag.value == pytest.approx(doubtful / (200 + doubtful), abs=1e-4)
        assert f"{doubtful} objects beside 200 cells" in flag.message


def test_a_few_doubtful_objects_on_a_small_slide_say_nothing() -> None:
    few = cells_with({CellClass.NGS: 5})
    found = flags_of(few, region=CLEAN_REGION.model_copy(update={"doubtful_objects": 2}))
    assert QualityCode.DOUBTFUL_OBJECTS not in found


def test_doubtful_objects_without_a_cell_are_said() -> None:
    none = cells_with({})
    found = flags_of(none, region=CLEAN_REGION.model_copy(update={"doubtful_objects": 9}))
    assert found[QualityCode.DOUBTFUL_OBJECTS].value == 1.0


@pytest.mark.parametrize(("unfamiliar", "is_flagged"), [(50, False), (51, True)])
def test_many_unfamiliar_cells_are_said(unfamiliar: int, is_flagged: bool) -> None:
    classifier = CLEAN_CLASSIFIER.model_copy(update={"unfamiliar_above": 0.5})
    rows = [certain(CellClass.NGS)] * (200 - unfamiliar)
    rows += [certain(CellClass.LYT, 0.6)] * unfamiliar
    report, _ = report_of(cells_of(*rows), **(CLEAN | {"classifier": classifier}))
    assert (QualityCode.UNFAMILIAR_CELLS in flags(report)) is is_flagged
    assert report.quality.unfamiliar_share == unfamiliar / 200


@pytest.mark.parametrize(("uncertain", "is_flagged"), [(40, False), (41, True)])
def test_many_uncertain_cells_are_said(uncertain: int, is_flagged: bool) -> None:
    rows = [certain(CellClass.NGS)] * (200 - uncertain)
    doubtful = np.zeros(15, np.float32)
    doubtful[[2, 5, 8]] = 0.4, 0.3, 0.3
    report, _ = report_of(cells_of(*rows, *[doubtful] * uncertain), **CLEAN)
    assert (QualityCode.UNCERTAIN_CELLS in flags(report)) is is_flagged
    assert report.quality.uncertain_share == uncertain / 200


@pytest.mark.parametrize(("blurred", "is_flagged"), [(40, False), (41, True)])
def test_many_blurred_cells_are_said(blurred: int, is_flagged: bool) -> None:
    cells = replace(ENOUGH, out_of_focus=np.arange(200) < blurred)
    assert (QualityCode.OUT_OF_FOCUS_CELLS in flags_of(cells)) is is_flagged


def test_focus_that_was_not_measured_is_unknown() -> None:
    report, _ = report_of(replace(ENOUGH, out_of_focus=None), **CLEAN)
    assert report.quality.out_of_focus_share is None


@pytest.mark.parametrize(("cut", "is_flagged"), [(40, False), (41, True)])
def test_many_cells_at_an_edge_are_said(cut: int, is_flagged: bool) -> None:
    found = flags_of(replace(ENOUGH, edge=np.arange(200) < cut))
    assert (QualityCode.EDGE_CELLS in found) is is_flagged


@pytest.mark.parametrize(("spreads", "is_flagged"), [(3.5, False), (3.51, True)])
def test_a_stain_unlike_the_training_data_is_said(spreads: float, is_flagged: bool) -> None:
    stain = StainDistance(spreads, "nuclei in red light", 150.2, 110.4)
    report, _ = report_of(ENOUGH, **CLEAN, stain=stain)
    assert (QualityCode.UNUSUAL_STAIN in flags(report)) is is_flagged
    assert report.quality.stain_distance == spreads
    for flag in flags(report).values():
        assert flag.severity is Severity.WARNING
        assert "nuclei in red light are at 150 of 255, in training at 110" in flag.message


def test_a_stain_that_was_not_measured_is_unknown() -> None:
    assert report_of(ENOUGH, **CLEAN)[0].quality.stain_distance is None


def test_counting_the_whole_slide_is_said() -> None:
    region = CLEAN_REGION.model_copy(update={"choice": RegionChoice.ALL})
    assert set(flags_of(region=region)) == {QualityCode.WHOLE_SLIDE}


@pytest.mark.parametrize(("um_per_px", "is_flagged"), [(0.0725, False), (0.08, True)])
def test_a_slide_coarser_than_the_network_is_said(um_per_px: float, is_flagged: bool) -> None:
    found = flags_of(slide=replace(SLIDE, um_per_px=um_per_px))
    assert (QualityCode.UPSAMPLED in found) is is_flagged


def test_a_changed_group_is_said_with_its_classes() -> None:
    apl = CellGroup(name="APL blasts", classes=(*BLASTS.classes, CellClass.PMO))
    (flag,) = flags_of(parameters=ScanParameters(blasts=apl)).values()
    assert flag.code is QualityCode.REGROUPED
    assert "APL blasts are MOB, MYO, PMO" in flag.message


@pytest.mark.parametrize(
    ("missing", "severity"),
    [(CellClass.PMB, Severity.NOTICE), (CellClass.MOB, Severity.WARNING)],
)
def test_an_unsupported_class_is_always_said(missing: CellClass, severity: Severity) -> None:
    classifier = CLEAN_CLASSIFIER.model_copy(update={"unsupported_classes": (missing,)})
    (flag,) = flags_of(classifier=classifier).values()
    assert (flag.code, flag.severity) == (QualityCode.UNSUPPORTED_CLASSES, severity)


def test_warnings_come_before_notices() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 50, CellClass.KSC: 50}))
    severities = [flag.severity for flag in report.quality.flags]
    assert severities == sorted(severities, reverse=True)
    assert set(severities) == {Severity.WARNING, Severity.NOTICE}
