"""What a report's reader must know: quality flags in words."""

from collections.abc import Callable

from models.taxonomy import ATYPICAL, BLAST, CODES, NAMES, CellClass
from service.contract.quality import Quality, QualityCode, QualityFlag, Severity
from service.contract.report import ClassifierRecord, RegionRecord
from service.contract.scan import CellGroup, RegionChoice
from service.contract.settings import AnalysisSettings
from worker.cells import CellTable
from worker.proportion import clopper_pearson
from worker.stain_distance import StainDistance


def assess_quality(
    cells: CellTable,
    per_100_leukocytes: dict[CellClass, float | None],
    *,
    um_per_px: float,
    region: RegionRecord,
    classifier: ClassifierRecord,
    blasts: CellGroup,
    atypical: CellGroup,
    stain: StainDistance | None,
    uncertain_below: float,
    settings: AnalysisSettings,
) -> Quality:
    """Everything worth saying about a report's numbers, warnings first.

    Args:
        cells: of the scan.
        per_100_leukocytes: EBO and KSC per 100 leukocytes; None without leukocytes.
        um_per_px: micrometres per level-0 px of the slide.
        region: where cells were counted.
        classifier: which classes and what resolution it knows.
        blasts, atypical: the groupings asked for.
        stain: of the cells, against the training data; None when not measured.
        uncertain_below: limit by which cells were called uncertain.
        settings: where flags are raised.
    """
    limits = settings.quality
    n_leukocytes = int(cells.is_leukocyte.sum())
    uncertain = float(cells.uncertain.mean()) if len(cells) else None
    blurred = (
        float(cells.out_of_focus.mean()) if cells.out_of_focus is not None and len(cells) else None
    )
    unfamiliar = (
        float(cells.unfamiliar.mean()) if cells.unfamiliar is not None and len(cells) else None
    )
    smudges = per_100_leukocytes[CellClass.KSC]
    flags: list[QualityFlag | None] = [
        _count_flag(n_leukocytes, limits.few_leukocytes, limits.some_leukocytes),
        _above(
            QualityCode.SMUDGE_CELLS,
            smudges,
            limits.smudge_per_100,
            "{value} smudge cells per 100 leukocytes (limit {limit}): fragile cells, often "
            "lymphocytes or blasts, may be missing from the differential.",
            lambda rate: f"{rate:.3g}",
        ),
        _coverage_flag(region, limits.min_coverage),
        _doubtful_flag(len(cells), region.doubtful_objects, limits.doubtful_share),
        _above(
            QualityCode.UNCERTAIN_CELLS,
            uncertain,
            limits.uncertain_share,
            "{value} of cells are uncertain (limit {limit}): their most probable class "
            f"has less than {_percent(uncertain_below)}. Stain, focus or scanner may be "
            "unlike what the model was trained on.",
            _percent,
        ),
        _above(
            QualityCode.UNFAMILIAR_CELLS,
            unfamiliar,
            limits.unfamiliar_share,
            "{value} of cells look like none of the model's classes (limit {limit}): plasma cells, "
            "artefacts, or a stain unlike the training data. They are counted under some class all "
            "the same.",
            _percent,
        ),
        _above(
            QualityCode.OUT_OF_FOCUS_CELLS,
            blurred,
            limits.out_of_focus_share,
            "{value} of cells are out of focus (limit {limit}): their borders are blurred by more "
            f"than {settings.blurred_above_um:g} µm, and the model misnames many such cells. Scan "
            "the slide again in focus.",
            _percent,
        ),
        _above(
            QualityCode.EDGE_CELLS,
            float(cells.edge.mean()) if len(cells) else None,
            limits.edge_share,
            "{value} of cells are cut by the edge of the slide or of the counted region (limit "
            "{limit}): the region is small or in pieces, and its count depends on where its edge "
            "happens to lie.",
            _percent,
        ),
        _stain_flag(stain, limits.stain_distance),
        _tiles_flag(region),
        _cells_flag(region),
        _whole_slide_flag(region),
        _upsampled_flag(um_per_px, classifier),
        _regrouped_flag(blasts, atypical),
        _unsupported_flag(classifier, blasts),
    ]
    raised = [flag for flag in flags if flag is not None]
    return Quality(
        flags=tuple(sorted(raised, key=lambda flag: flag.severity is not Severity.WARNING)),
        uncertain_below=uncertain_below,
        uncertain_share=_rounded(uncertain),
        unfamiliar_share=_rounded(unfamiliar),
        out_of_focus_share=_rounded(blurred),
        edge_cells=int(cells.edge.sum()),
        stain_distance=None if stain is None else _rounded(stain.spreads),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _flag(
    code: QualityCode,
    severity: Severity,
    message: str,
    value: float | None = None,
    limit: float | None = None,
) -> QualityFlag:
    return QualityFlag(
        code=code, severity=severity, message=message, value=_rounded(value), limit=limit
    )


def _above(
    code: QualityCode,
    value: float | None,
    limit: float,
    message: str,
    show: Callable[[float], str],
) -> QualityFlag | None:
    """A warning when `value` is over `limit`; `message` has a place for each."""
    if value is None or value <= limit:
        return None
    message = message.format(value=show(value), limit=show(limit))
    return _flag(code, Severity.WARNING, message, value, limit)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"


def _count_flag(n: int, few: int, some: int) -> QualityFlag | None:
    if n == 0:
        return _flag(
            QualityCode.NO_LEUKOCYTES,
            Severity.WARNING,
            "No leukocytes were found: there is no differential and no percentage.",
            0,
        )
    leukocytes = "1 leukocyte" if n == 1 else f"{n} leukocytes"
    if n < few:
        return _flag(
            QualityCode.FEW_LEUKOCYTES,
            Severity.WARNING,
            f"Only {leukocytes} (fewer than {few}): percentages are little more than hints; read "
            "the intervals.",
            n,
            few,
        )
    if n < some:
        return _flag(
            QualityCode.FEW_LEUKOCYTES,
            Severity.NOTICE,
            f"{leukocytes}, fewer than the {some} of a usual manual count: read the intervals.",
            n,
            some,
        )
    return None


def _coverage_flag(region: RegionRecord, minimum: float) -> QualityFlag | None:
    if region.coverage >= minimum:
        return None
    return _flag(
        QualityCode.COVERAGE_LOW,
        Severity.WARNING,
        f"Only {_percent(region.coverage)} of the counted region could be read (limit "
        f"{_percent(minimum)}): "
        "cells elsewhere in it are missing.",
        region.coverage,
        minimum,
    )


def _tiles_flag(region: RegionRecord) -> QualityFlag | None:
    if region.tiles_failed == 0:
        return None
    return _flag(
        QualityCode.TILES_FAILED,
        Severity.NOTICE,
        f"{region.tiles_failed} of {region.tiles} tiles could not be read and were skipped: the "
        "slide file is damaged there.",
        region.tiles_failed,
    )


def _cells_flag(region: RegionRecord) -> QualityFlag | None:
    unread = region.cells_unread
    if unread == 0:
        return None
    cells = "1 cell was" if unread == 1 else f"{unread} cells were"
    return _flag(
        QualityCode.CELLS_UNREAD,
        Severity.NOTICE,
        f"{cells} found but could not be read at full resolution: in no number of this report.",
        unread,
    )


def _doubtful_flag(cells: int, doubtful: int | None, limit: float) -> QualityFlag | None:
    """Raised where the share's interval lies above the limit: a few objects say nothing."""
    interval = clopper_pearson(doubtful or 0, (doubtful or 0) + cells)
    if not doubtful or interval is None or interval[0] <= 100 * limit:
        return None
    share = doubtful / (doubtful + cells)
    objects = "1 object" if doubtful == 1 else f"{doubtful} objects"
    return _flag(
        QualityCode.DOUBTFUL_OBJECTS,
        Severity.WARNING,
        f"{objects} beside {cells} cells may be leukocytes too, but the detector was not sure "
        f"enough to count them: {_percent(share)} of all (limit {_percent(limit)}). Optics or "
        "stain may be unlike its training data: leukocytes may be missing, other things may be "
        "among the cells.",
        share,
        limit,
    )


def _stain_flag(stain: StainDistance | None, limit: float) -> QualityFlag | None:
    if stain is None or stain.spreads <= limit:
        return None
    return _flag(
        QualityCode.UNUSUAL_STAIN,
        Severity.WARNING,
        f"Stain, lamp or scanner are unlike the model's training data: {stain.feature} are at "
        f"{stain.grey_level:.0f} of 255, in training at {stain.reference_level:.0f}, "
        f"{stain.spreads:.1f} times the usual spread (limit {limit:g}). Check a sample of the "
        "labels by eye before trusting a count.",
        stain.spreads,
        limit,
    )


def _whole_slide_flag(region: RegionRecord) -> QualityFlag | None:
    if region.choice is not RegionChoice.ALL:
        return None
    return _flag(
        QualityCode.WHOLE_SLIDE,
        Severity.NOTICE,
        "Cells were counted on the whole slide, as asked, not only where they lie in a single "
        "layer: thick and blurred parts are included.",
    )


def _upsampled_flag(um_per_px: float, classifier: ClassifierRecord) -> QualityFlag | None:
    if um_per_px <= classifier.um_per_px:
        return None
    return _flag(
        QualityCode.UPSAMPLED,
        Severity.NOTICE,
        f"The slide has {um_per_px:.3g} µm per pixel, the classifier sees "
        f"{classifier.um_per_px:.3g}: its patches are enlarged "
        f"{um_per_px / classifier.um_per_px:.1f}-fold and show no more detail than the slide.",
        um_per_px,
        classifier.um_per_px,
    )


def _regrouped_flag(blasts: CellGroup, atypical: CellGroup) -> QualityFlag | None:
    changed = [
        f"{group.name} are {', '.join(group.classes)}"
        for group, usual in ((blasts, BLAST), (atypical, ATYPICAL))
        if set(group.classes) != usual
    ]
    if not changed:
        return None
    return _flag(
        QualityCode.REGROUPED,
        Severity.NOTICE,
        f"Groups were changed by request: {'; '.join(changed)}. The classifier's threshold was "
        "not set for this grouping.",
    )


def _unsupported_flag(classifier: ClassifierRecord, blasts: CellGroup) -> QualityFlag | None:
    classes = classifier.unsupported_classes
    if not classes:
        return None
    names = ", ".join(f"{NAMES[code]} ({code})" for code in CODES if code in classes)
    missing = [code for code in blasts.classes if code in classes]
    consequence = (
        f" The blast count cannot include {', '.join(NAMES[code] + 's' for code in missing)}."
        if missing
        else ""
    )
    return _flag(
        QualityCode.UNSUPPORTED_CLASSES,
        Severity.WARNING if missing else Severity.NOTICE,
        f"The model cannot recognise: {names}. Such cells get another label, and their number is "
        f"unknown, not zero.{consequence}",
        len(classes),
    )
