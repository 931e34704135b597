"""From classified cells to the report: counts, percentages, intervals, quality."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.prevalence import Rate, estimate_share, find_detection_limit
from models.taxonomy import ATYPICAL, BLAST, CODES, INDEX, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.report import (
    AdjustedShare,
    ClassifierRecord,
    DetectorRecord,
    GroupCount,
    GroupErrors,
    Proportion,
    RegionRecord,
    Report,
    SlideRecord,
    Versions,
)
from service.contract.scan import CellGroup, ScanParameters, Stage
from service.contract.settings import AnalysisSettings
from worker.cells import CellTable, ClassifiedCells
from worker.proportion import clopper_pearson, percent_of
from worker.quality import assess_quality
from worker.slide.protocol import SlideInfo
from worker.stain_distance import StainDistance


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything a report is built from.

    Attributes:
        scan_id: name of the scan.
        analysed_at: when the analysis ended, with zone.
        parameters: what was asked.
        slide: what was read.
        region: where cells were counted.
        classifier: facts of its card.
        detector: facts of its card.
        cells: what both found.
        timings: wall time per stage, s.
        versions: what computed it.
        stain: distance of the cells' colours from the training data; None if not measured.
    """

    scan_id: str
    analysed_at: datetime
    parameters: ScanParameters
    slide: SlideInfo
    region: RegionRecord
    classifier: ClassifierRecord
    detector: DetectorRecord
    cells: ClassifiedCells
    timings: Mapping[Stage, float]
    versions: Versions
    stain: StainDistance | None = None


def build_report(analysis: Analysis, settings: AnalysisSettings) -> tuple[Report, CellTable]:
    """The report of an analysis, and its cells numbered as the report's readers know them.

    Pure: the same analysis gives the same report. `CellTable.order` leads from a cell back to its
    row in `analysis.cells`.

    Raises:
        ValueError: the cells contradict the classifier's card (an unsupported class with a
            probability), or a record is out of range.
    """
    blasts, atypical = analysis.parameters.blasts, analysis.parameters.atypical
    classifier = analysis.classifier
    uncertain_below = (
        classifier.uncertain_below if settings.uncertain_below is None else settings.uncertain_below
    )
    cells = CellTable(
        analysis.cells,
        unsupported=classifier.unsupported_classes,
        blasts=blasts,
        atypical=atypical,
        uncertain_below=uncertain_below,
        unfamiliar_above=classifier.unfamiliar_above,
    )
    n_leukocytes = int(cells.is_leukocyte.sum())
    counts = _count_labels(cells, classifier)
    per_100 = {
        code: _per_100(counts[code], n_leukocytes) for code in CODES if code in NOT_IN_DIFFERENTIAL
    }
    report = Report(
        scan_id=analysis.scan_id,
        analysed_at=analysis.analysed_at,
        slide=_record_slide(analysis.slide),
        model=classifier,
        detector=analysis.detector,
        region=analysis.region,
        n_cells=len(cells),
        n_leukocytes=n_leukocytes,
        counts=counts,
        differential={
            code: _proportion(count, n_leukocytes)
            for code, count in counts.items()
            if code not in NOT_IN_DIFFERENTIAL
        },
        per_100_leukocytes=per_100,
        blast=_count_group(
            blasts,
            cells.p_blast,
            cells.is_leukocyte,
            threshold=classifier.thresholds.blast,
            errors=classifier.blast_errors if set(blasts.classes) == BLAST else None,
            unsupported=classifier.unsupported_classes,
        ),
        atypical=_count_group(
            atypical,
            cells.p_atypical,
            cells.is_leukocyte,
            threshold=classifier.thresholds.atypical,
            errors=classifier.atypical_errors if set(atypical.classes) == ATYPICAL else None,
            unsupported=classifier.unsupported_classes,
        ),
        quality=assess_quality(
            cells,
            per_100,
            um_per_px=analysis.slide.um_per_px,
            region=analysis.region,
            classifier=classifier,
            blasts=blasts,
            atypical=atypical,
            stain=analysis.stain,
            uncertain_below=uncertain_below,
            settings=settings,
        ),
        timings={stage: round(seconds, 3) for stage, seconds in analysis.timings.items()},
        versions=analysis.versions,
    )
    return report, cells


def _record_slide(info: SlideInfo) -> SlideRecord:
    return SlideRecord(
        sha256=info.sha256,
        format=info.format,
        width=info.size.width,
        height=info.size.height,
        um_per_px=info.um_per_px,
        um_per_px_source=info.um_per_px_source,
        reader=info.reader,
        icc_profile=info.icc_profile,
    )


def _count_labels(cells: CellTable, classifier: ClassifierRecord) -> dict[CellClass, int | None]:
    found = np.bincount(cells.labels, minlength=len(CODES))
    return {
        code: None if code in classifier.unsupported_classes else int(found[INDEX[code]])
        for code in CODES
    }


def _proportion(count: int | None, total: int) -> Proportion | None:
    if count is None:
        return None
    return Proportion(percent=percent_of(count, total), ci95=clopper_pearson(count, total))


def _per_100(count: int | None, n_leukocytes: int) -> float | None:
    return None if count is None else percent_of(count, n_leukocytes)


def _count_group(
    group: CellGroup,
    probability: NDArray[np.float64] | None,
    is_leukocyte: NDArray[np.bool_],
    *,
    threshold: float,
    errors: GroupErrors | None,
    unsupported: tuple[CellClass, ...],
) -> GroupCount:
    total = int(is_leukocyte.sum())
    if probability is None:
        count = outside = expected = None
    else:
        positive = probability >= threshold
        count = int((positive & is_leukocyte).sum())
        outside = int((positive & ~is_leukocyte).sum())
        expected = round(float(probability[is_leukocyte].sum()), 4)
    return GroupCount(
        name=group.name,
        classes=group.classes,
        unsupported_classes=tuple(code for code in group.classes if code in unsupported),
        threshold=threshold,
        n_leukocytes=total,
        count=count,
        percent=None if count is None else percent_of(count, total),
        ci95=None if count is None else clopper_pearson(count, total),
        expected_count=expected,
        adjusted=None if count is None else _adjust(count, total, errors),
        outside_denominator=outside,
    )


def _adjust(count: int, total: int, errors: GroupErrors | None) -> AdjustedShare | None:
    if errors is None or total == 0:
        return None
    sensitivity, specificity, blank = (
        Rate(one.alpha, one.beta)
        for one in (errors.sensitivity, errors.specificity, errors.blank_specificity)
    )
    found = estimate_share(count, total, sensitivity=sensitivity, specificity=specificity)
    limit = find_detection_limit(total, sensitivity=sensitivity, specificity=blank)
    return AdjustedShare(
        percent=round(100 * found.share, 4),
        ci95=(round(100 * found.interval[0], 4), round(100 * found.interval[1], 4)),
        limit_of_blank=limit.blank,
        limit_of_detection=None if limit.share is None else round(100 * limit.share, 4),
    )
