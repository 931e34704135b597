"""The whole analysis on rendered slides, with the served detector."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from models.detector import Detector
from service.contract.failure import AnalysisError, FailureCode
from service.contract.quality import QualityCode
from service.contract.scan import RegionChoice, ScanParameters, Stage
from service.contract.settings import AnalysisSettings
from service.patches import PATCHES_FILE, read_patch
from tests.builders import ArraySlide
from tests.networks import ClassifierByDarkness, StandInPredictor
from tests.smears import paint_field
from worker.demo import load_truth, write_demo_slide
from worker.patch_store import PATCH_QUALITY, PatchStore
from worker.patches import patch_region
from worker.pipeline import analyse, scan_slide
from worker.results import write_results
from worker.slide.geometry import Region
from worker.slide.jpeg import encode_jpeg
from worker.slide.opening import open_slide
from worker.stages import StageClock

pytestmark = pytest.mark.integration

ALL = ScanParameters(region=RegionChoice.ALL)


@pytest.fixture(scope="session")
def predictor() -> StandInPredictor:
    return StandInPredictor(Detector.load(), ClassifierByDarkness())


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "smear.tiff"
    write_demo_slide(path, mm2=0.3, seed=3, leukocytes=40)
    return path


def run(path, predictor, parameters=ALL, settings=None, **kwargs):
    return scan_slide(
        path,
        predictor,
        scan_id="test",
        parameters=parameters,
        settings=settings or AnalysisSettings(),
        **kwargs,
    )


def level_0(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        size = slide.info.size
        return slide.read(Region(0, 0, size.width, size.height), slide.info.um_per_px)


def analyse_array(slide: ArraySlide, predictor, settings=None, parameters=ALL):
    return analyse(
        slide,
        predictor,
        scan_id="test",
        parameters=parameters,
        settings=settings or AnalysisSettings(),
        clock=StageClock(),
    )


def test_planted_leukocytes_are_found_where_they_were_planted(demo, predictor):
    planted = load_truth(demo).leukocytes
    results = run(demo, predictor)
    found = np.array([(cell.x_px, cell.y_px) for cell in results.cells])
    radius_px = 5.0 / results.report.slide.um_per_px
    missed = [
        cell for cell in planted if np.hypot(*(found - (cell.x_px, cell.y_px)).T).min() > radius_px
    ]
    assert len(missed) <= 0.1 * len(planted)
    assert len(found) <= 1.2 * len(planted)


def test_a_report_adds_up_and_names_every_stage(demo, predictor):
    seen = []
    results = run(
        demo, predictor, on_progress=lambda stage, done, total: seen.append((stage, done, total))
    )
    report = results.report
    assert report.n_cells == len(results.cells) > 0
    assert list(report.timings) == list(Stage)
    assert [stage for stage in Stage if stage in {entry[0] for entry in seen}] == list(Stage)
    assert (Stage.CLASSIFYING, report.n_cells, report.n_cells) in seen
    assert report.region.coverage == 1.0
    assert set(results.patches) == {c.id for g in results.galleries for c in g.cells}


def test_the_same_slide_gives_the_same_cells(demo, predictor):
    first, second = run(demo, predictor), run(demo, predictor)
    assert tuple(first.cells) == tuple(second.cells)


def test_the_monolayer_is_part_of_the_slide_and_its_cells_lie_in_it(demo, predictor):
    everywhere = run(demo, predictor)
    monolayer = run(demo, predictor, ScanParameters(region=RegionChoice.MONOLAYER))
    assert 0 < monolayer.report.region.area_mm2 < everywhere.report.region.area_mm2
    assert monolayer.report.n_cells <= everywhere.report.n_cells


def test_a_slide_without_leukocytes_is_a_report_of_none(tmp_path, predictor):
    path = tmp_path / "empty.tiff"
    write_demo_slide(path, mm2=0.1, seed=1, leukocytes=0)
    report = run(path, predictor, ScanParameters(region=RegionChoice.MONOLAYER)).report
    assert report.n_leukocytes == 0
    assert report.blast.percent is None
    assert report.blast.ci95 is None
    assert QualityCode.NO_LEUKOCYTES in {flag.code for flag in report.quality.flags}


def test_cancelling_from_progress_ends_the_analysis(demo, predictor):
    class Cancelled(Exception):
        pass

    def cancel(stage, done, total):
        if stage is Stage.CLASSIFYING and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(demo, predictor, on_progress=cancel)


def test_cells_of_a_blurred_slide_are_out_of_focus_and_those_of_a_sharp_one_are_not(predictor):
    pixels, cells = paint_field(1024, 1024, 0.2)
    sigma_px = 1.0 / 0.2
    blurred = gaussian_filter(pixels, (sigma_px, sigma_px, 0))
    for picture, share in ((pixels, 0.0), (blurred, 1.0)):
        report = analyse_array(ArraySlide(picture, 0.2), predictor).report
        assert report.n_cells == len(cells)
        assert report.quality.out_of_focus_share == share
        codes = {flag.code for flag in report.quality.flags}
        assert (QualityCode.OUT_OF_FOCUS_CELLS in codes) == (share > 0)


def test_an_unreadable_part_is_skipped_and_counted_in_coverage(demo, predictor):
    pixels = level_0(demo)
    slide = ArraySlide(pixels, 0.0725, damage=(Region(0, 0, 200, 200),))
    allowed = AnalysisSettings(max_tiles_failed_share=1.0)
    report = analyse_array(slide, predictor, allowed).report
    assert report.region.tiles_failed >= 1
    assert report.region.coverage < 1.0
    assert QualityCode.TILES_FAILED in {flag.code for flag in report.quality.flags}


def test_more_unreadable_tiles_than_the_budget_fail_the_scan(demo, predictor):
    slide = ArraySlide(level_0(demo), 0.0725, damage=(Region(0, 0, 200, 200),))
    with pytest.raises(AnalysisError, match="could not be read") as caught:
        analyse_array(slide, predictor, AnalysisSettings(max_tiles_failed_share=0.0))
    assert caught.value.code is FailureCode.TILE_FAILURES_EXCEEDED


def test_glass_alone_has_no_monolayer_and_the_failure_says_what_there_is(predictor):
    slide = ArraySlide(np.full((2000, 2000, 3), 240, np.uint8), 0.2)
    with pytest.raises(AnalysisError, match="glass") as caught:
        analyse_array(slide, predictor, parameters=ScanParameters())
    assert caught.value.code is FailureCode.NO_MONOLAYER


def test_every_cell_has_the_patch_of_its_own_place(demo, predictor, tmp_path):
    with PatchStore(tmp_path / "partial") as store:
        results = run(demo, predictor, patch_store=store)
        store.place(tmp_path / PATCHES_FILE)
    um_per_px = results.report.slide.um_per_px
    assert len(results.cells) > 20
    with open_slide(demo) as slide:
        for cell in results.cells:
            region = patch_region((cell.x_px, cell.y_px), 400, 29.0, um_per_px)
            seen = slide.read(region, 29.0 / 400)
            assert read_patch(tmp_path, cell.id) == encode_jpeg(seen, PATCH_QUALITY)


def test_what_the_detector_is_not_sure_of_is_shown_and_in_no_count(demo, predictor, tmp_path):
    sure = run(demo, predictor)
    scores = sorted(cell.detection_score for cell in sure.cells)
    card = predictor.detector.card.model_copy(update={"threshold": (scores[2] + scores[3]) / 2})
    strict = SimpleNamespace(card=card, detect=predictor.detector.detect)
    results = run(demo, StandInPredictor(strict, predictor.classifier))
    before = sure.report.region.doubtful_objects
    assert results.report.region.doubtful_objects == len(results.doubtful) == before + 3
    assert results.report.n_cells == sure.report.n_cells - 3
    assert [one.detection_score for one in results.doubtful][:3] == scores[2::-1]
    assert all(results.doubtful_patches[index].shape == (400, 400, 3) for index in range(3))
    write_results(tmp_path / "out", results)
    features = json.loads((tmp_path / "out" / "cells.geojson").read_text())["features"]
    assert len(features) == results.report.n_cells + before + 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('alt="Doubtful object') == before + 3


def test_two_scans_of_a_slide_keep_the_same_bytes(demo, predictor, tmp_path):
    kept = []
    for name in ("first", "second"):
        with PatchStore(tmp_path / "partial") as store:
            run(demo, predictor, patch_store=store)
            store.place(tmp_path / name)
        kept.append((tmp_path / name).read_bytes())
    assert kept[0] == kept[1]
