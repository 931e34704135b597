"""The main job: a slide in, a report with its cells out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import ClassifierCard
from models.taxonomy import CODES
from service.contract.cell import DoubtfulObject
from service.contract.failure import AnalysisError, FailureCode
from service.contract.report import RegionRecord
from service.contract.scan import RegionChoice, ScanParameters, Stage
from service.contract.settings import AnalysisSettings
from service.exports.gallery import TOP_CELLS, choose_gallery
from service.exports.palette import choose_marker
from worker.appearance import Appearance
from worker.cells import ClassifiedCells
from worker.cpus import usable_cpus
from worker.detection import Detection, Detections, detect_leukocytes
from worker.monolayer import Stain, map_monolayer, read_stain
from worker.overview import render_overview
from worker.patch_store import PatchStore
from worker.patches import read_patches
from worker.predictor import Predictor, SupportsClassify
from worker.provenance import record_classifier, record_detector, record_versions
from worker.region import CountableRegion
from worker.report import Analysis, build_report
from worker.results import Results
from worker.slide.opening import open_slide
from worker.slide.protocol import Slide
from worker.stages import OnProgress, StageClock, ignore_progress

WHOLE_STEP_UM: Final = 200.0
"""Grid step of the region when all of a slide is counted; only the drawing depends on it."""


@dataclass(frozen=True, slots=True)
class Countable:
    """Where to count, and what of the slide could not even be judged.

    Attributes:
        region: the part to count.
        stain: glass and red cells of the slide.
        unjudged_tiles: tiles that could not be read when the region was chosen.
        unjudged_mm2: their area.
    """

    region: CountableRegion
    stain: Stain
    unjudged_tiles: int = 0
    unjudged_mm2: float = 0.0


def scan_slide(
    path: Path,
    predictor: Predictor,
    *,
    scan_id: str,
    parameters: ScanParameters,
    settings: AnalysisSettings,
    on_progress: OnProgress = ignore_progress,
    patch_store: PatchStore | None = None,
) -> Results:
    """Open a slide and analyse it; a `patch_store` keeps the patch of every cell.

    Raises:
        SlideError: the file is not a slide that can be scanned.
        AnalysisError: as `analyse`.
    """
    clock = StageClock(on_progress)
    with clock.time(Stage.OPENING):
        slide = open_slide(
            path,
            um_per_px=parameters.um_per_px,
            max_um_per_px=predictor.classifier.card.max_um_per_px,
            threads=usable_cpus(),
        )
    with slide:
        return analyse(
            slide,
            predictor,
            scan_id=scan_id,
            parameters=parameters,
            settings=settings,
            clock=clock,
            patch_store=patch_store,
        )


def analyse(
    slide: Slide,
    predictor: Predictor,
    *,
    scan_id: str,
    parameters: ScanParameters,
    settings: AnalysisSettings,
    clock: StageClock,
    patch_store: PatchStore | None = None,
) -> Results:
    """Find, classify and count the leukocytes of an open slide.

    The same slide, networks and parameters give the same cells.

    Raises:
        AnalysisError: no_monolayer; tile_failures_exceeded, when more of the slide than the
            settings allow cannot be read.
    """
    with clock.time(Stage.MONOLAYER) as on_progress:
        countable = choose_region(slide, parameters.region, on_progress)
    with clock.time(Stage.DETECTING) as on_progress:
        detections = detect_leukocytes(
            slide,
            countable.region,
            predictor.detector,
            background=countable.stain.background,
            red_cell=countable.stain.red_cell,
            on_progress=on_progress,
        )
        region = record_region(parameters.region, countable, detections)
        _check_budget("tiles", region.tiles_failed, region.tiles, settings)
    with clock.time(Stage.CLASSIFYING) as on_progress:
        cells, appearance = classify_cells(
            slide,
            detections.cells,
            predictor.classifier,
            on_progress,
            settings.blurred_above_um,
            patch_store,
        )
        unread = len(detections.cells) - len(cells.edge)
        _check_budget("cells", unread, len(detections.cells), settings)
        region = region.model_copy(update={"cells_unread": unread})
    with clock.time(Stage.REPORTING):
        analysis = Analysis(
            scan_id=scan_id,
            analysed_at=datetime.now(UTC),
            parameters=parameters,
            slide=slide.info,
            region=region,
            classifier=record_classifier(predictor.classifier.card),
            detector=record_detector(predictor.detector.card),
            cells=cells,
            stain=appearance.compare_stain(predictor.classifier.card),
            timings=clock.seconds,
            versions=record_versions(),
        )
        report, table = build_report(analysis, settings)
        if patch_store is not None:
            patch_store.number(table.order)
        galleries = choose_gallery(table)
        shown = sorted({cell.id for gallery in galleries for cell in gallery.cells})
        card, doubtful = predictor.classifier.card, record_doubtful(detections.doubtful)
        patches = _read_shown(slide, [(table[i - 1].x_px, table[i - 1].y_px) for i in shown], card)
        unsure = _read_shown(slide, [(o.x_px, o.y_px) for o in doubtful[:TOP_CELLS]], card)
        markers = ((c.x_px, c.y_px, choose_marker(report, c)) for c in table)
        overview = render_overview(slide, countable.region, markers)
    timings = {stage: round(seconds, 3) for stage, seconds in clock.seconds.items()}
    return Results(
        report=report.model_copy(update={"timings": timings}),
        cells=table,
        galleries=galleries,
        patches={shown[index]: patch for index, patch in patches.items()},
        doubtful=doubtful,
        doubtful_patches=unsure,
        overview_jpeg=overview,
        patch_store=patch_store,
    )


def choose_region(
    slide: Slide, choice: RegionChoice, on_progress: Callable[[int, int], None]
) -> Countable:
    """The part of a slide to count cells on, and how it is stained.

    Raises:
        AnalysisError: no_monolayer; the monolayer was asked for and there is none.
        SlideError: nothing of the slide can be decoded.
    """
    if choice is RegionChoice.ALL:
        step_l0 = WHOLE_STEP_UM / slide.info.um_per_px
        region = CountableRegion.whole(slide.info.size, step_l0)
        return Countable(region, read_stain(slide))
    found = map_monolayer(slide, on_progress=on_progress)
    tile_mm2 = (found.tile_l0 * slide.info.um_per_px / 1000) ** 2
    return Countable(found.region, found.stain, found.tiles_failed, found.tiles_failed * tile_mm2)


def record_region(
    choice: RegionChoice, countable: Countable, detections: Detections
) -> RegionRecord:
    """What was counted on, with everything unreadable held against its coverage.

    A tile that could not be read when the region was chosen may well have been countable, so it
    counts as a part that was asked for and not seen.
    """
    wanted = detections.area_mm2 + countable.unjudged_mm2
    unseen = detections.unread_mm2 + countable.unjudged_mm2
    return RegionRecord(
        choice=choice,
        area_mm2=round(detections.area_mm2, 6),
        coverage=round(1.0 - unseen / wanted, 6) if wanted else 1.0,
        tiles=detections.tiles + countable.unjudged_tiles,
        tiles_failed=detections.tiles_failed + countable.unjudged_tiles,
        doubtful_objects=len(detections.doubtful),
    )


def classify_cells(
    slide: Slide,
    detections: tuple[Detection, ...],
    classifier: SupportsClassify,
    on_progress: Callable[[int, int], None],
    blurred_above_um: float,
    patch_store: PatchStore | None = None,
) -> tuple[ClassifiedCells, Appearance]:
    """Class probabilities of detected cells, and what their patches look like.

    Cells keep the order of `detections`; those whose patch cannot be decoded are left out. A cell
    whose borders are blurred by more than `blurred_above_um` is out of focus.
    """
    card = classifier.card
    centres = [(cell.x_px, cell.y_px) for cell in detections]
    probabilities = np.zeros((len(centres), len(CODES)), np.float32)
    edge = np.array([cell.edge for cell in detections], np.bool_)
    readable = np.zeros(len(centres), np.bool_)
    appearance = Appearance(len(centres), card.patch_um / card.patch_px)
    done = 0
    for batch in read_patches(slide, centres, patch_px=card.patch_px, patch_um=card.patch_um):
        rows = list(batch.cells)
        probabilities[rows] = classifier.predict(batch.patches)
        edge[rows] |= np.array(batch.at_slide_edge, np.bool_)
        appearance.measure(rows, batch.patches, batch.at_slide_edge)
        if patch_store is not None:
            patch_store.keep(rows, batch.patches)
        readable[rows] = True
        done += len(batch.cells) + len(batch.unreadable)
        on_progress(done, len(centres))
    cells = ClassifiedCells(
        centres_l0=np.array(centres, np.float64).reshape(-1, 2)[readable],
        diameter_um=np.array([cell.diameter_um for cell in detections])[readable],
        detection_score=np.array([cell.score for cell in detections])[readable],
        probabilities=probabilities[readable],
        edge=edge[readable],
        out_of_focus=appearance.blur_um[readable] > blurred_above_um,
    )
    return cells, appearance


def record_doubtful(objects: Sequence[Detection]) -> tuple[DoubtfulObject, ...]:
    """What is told of objects that are not counted, rounded as cells are."""
    return tuple(
        DoubtfulObject(
            id=number,
            x_px=round(one.x_px, 2),
            y_px=round(one.y_px, 2),
            diameter_um=round(one.diameter_um, 2),
            detection_score=round(one.score, 4),
        )
        for number, one in enumerate(objects, start=1)
    )


def _read_shown(
    slide: Slide, centres: Sequence[tuple[float, float]], card: ClassifierCard
) -> dict[int, NDArray[np.uint8]]:
    """Patches that a report shows, by their centre's index; one that cannot be read is left out."""
    return {
        index: patch
        for batch in read_patches(slide, centres, patch_px=card.patch_px, patch_um=card.patch_um)
        for index, patch in zip(batch.cells, batch.patches, strict=True)
    }


def _check_budget(what: str, failed: int, total: int, settings: AnalysisSettings) -> None:
    limit = settings.max_tiles_failed_share
    if failed > limit * total:
        raise AnalysisError(
            FailureCode.TILE_FAILURES_EXCEEDED,
            f"{failed} of {total} {what} ({100 * failed / total:.1f} %) could not be read, more"
            f" than the {100 * limit:g} % allowed: scan the slide again or export it anew",
        )
