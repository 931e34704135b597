import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.background import estimate_background
from models.catalogue import CARD_FILE, DEFAULT_DETECTOR, WEIGHTS_FILE, locate_weights
from models.detector import MARGIN_PX, Detector
from models.errors import PatchShapeError, WeightsCorrupt, WeightsUnavailable
from models.nets.heatmap import OUTPUT_STRIDE, STRIDE
from models.peak import Peak, merge_peaks
from models.red_cell import estimate_red_cell
from models.verifier import verify
from tests.smears import paint_field

WHITE = np.array([250.0, 250.0, 250.0])
RED_CELL = np.array([0.2, 0.4, 0.3])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def detect(detector: Detector, rgb: np.ndarray) -> list[Peak]:
    background = estimate_background(rgb)
    (peaks,) = detector.detect(rgb[None], background, estimate_red_cell(rgb, background))
    return merge_peaks(peaks, detector.card.min_distance_um / detector.card.um_per_px)


def test_no_fields_give_no_lists(detector):
    assert detector.detect(np.empty((0, 64, 64, 3), np.uint8), WHITE, RED_CELL) == []


def test_bare_glass_holds_no_leukocyte(detector):
    field = np.full((1, 160, 160, 3), 250, np.uint8)
    assert detector.detect(field, WHITE, RED_CELL) == [[]]


def test_only_peaks_of_the_rim_are_left_out_where_these_are_not_wanted(detector, monkeypatch):
    rgb, _ = paint_field(400, 520, detector.card.um_per_px)

    def told(peak):
        """As a report tells it: a crop's logit hangs on how many are in its batch, by rounding."""
        return replace(peak, score=round(peak.score, 4))

    everywhere = [told(peak) for peak in detector.detect(rgb[None], WHITE, RED_CELL)[0]]
    looked_at = []

    def count(network, density, rows, cols, device):
        looked_at.append(len(rows))
        return verify(network, density, rows, cols, device)

    monkeypatch.setattr("models.detector.verify", count)
    for peak in everywhere:
        for rim_px in (0, int(min(peak.x, peak.y, 520 - peak.x, 400 - peak.y))):
            (found,) = detector.detect(rgb[None], WHITE, RED_CELL, rim_px=rim_px)
            assert peak in map(told, found), (peak, rim_px)
            assert set(map(told, found)) <= set(everywhere)
            low, right, bottom = rim_px - 2.0, 520 - rim_px + 2.0, 400 - rim_px + 2.0
            assert all(low <= one.x <= right and low <= one.y <= bottom for one in found)
    assert min(looked_at) < max(looked_at)


def test_a_field_need_not_be_a_multiple_of_the_stride(detector):
    rgb, cells = paint_field(STRIDE * 20 + 3, STRIDE * 20 + 5, detector.card.um_per_px)
    assert len(detect(detector, rgb)) == len(cells)


@pytest.mark.parametrize("glass", [(250, 250, 250), (255, 232, 205), (190, 215, 205)])
def test_planted_cells_are_found_on_glass_of_any_colour(detector, glass):
    rgb, cells = paint_field(200, 240, detector.card.um_per_px, glass=glass)
    peaks = detect(detector, rgb)
    assert len(peaks) == len(cells)
    for x, y in cells:
        assert min(np.hypot(peak.x - x, peak.y - y) for peak in peaks) < 3.0


@pytest.mark.parametrize("gain", [0.4, 1.0, 1.4])
def test_planted_cells_are_found_however_dark_the_stain(detector, gain):
    rgb, cells = paint_field(200, 240, detector.card.um_per_px)
    stained = np.exp(gain * np.log((rgb + 1.0) / 251.0)) * 251.0 - 1.0
    assert len(detect(detector, stained.round().clip(0, 255).astype(np.uint8))) == len(cells)


def test_the_black_around_an_eyepiece_holds_no_leukocyte(detector):
    rgb, cells = paint_field(320, 320, detector.card.um_per_px)
    rows, cols = np.mgrid[:320, :320]
    rgb[np.hypot(rows - 160, cols - 160) > 150] = 6
    peaks = detect(detector, rgb)
    assert len(peaks) == len(cells)


def test_one_thread_and_two_give_the_same_peaks_to_a_thousandth_of_a_px(detector):
    rgb, cells = paint_field(320, 320, detector.card.um_per_px)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([(p.x, p.y, p.diameter_um, p.score) for p in detect(detector, rgb)])
    finally:
        torch.set_num_threads(threads)
    assert len(found[0]) == len(cells)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_fields_of_the_wrong_type_are_refused(detector):
    with pytest.raises(PatchShapeError, match="uint8"):
        detector.detect(np.zeros((1, 64, 64, 3), np.float32), WHITE, RED_CELL)


def test_a_field_without_its_batch_axis_is_refused(detector):
    with pytest.raises(PatchShapeError, match="want"):
        detector.detect(np.zeros((64, 64, 3), np.uint8), WHITE, RED_CELL)


def test_a_background_that_is_not_one_colour_is_refused(detector):
    with pytest.raises(PatchShapeError, match="background"):
        detector.detect(np.zeros((1, 64, 64, 3), np.uint8), np.ones((2, 3)), RED_CELL)


def test_a_red_cell_without_density_is_refused(detector):
    with pytest.raises(PatchShapeError, match="red cell"):
        detector.detect(np.zeros((1, 64, 64, 3), np.uint8), WHITE, np.array([0.2, 0.0, 0.2]))


def test_margin_is_a_multiple_of_the_stride_that_the_card_keeps(detector):
    assert detector.card.margin_px == MARGIN_PX
    assert MARGIN_PX % detector.card.stride_px == 0


def test_no_pixel_beyond_the_margin_changes_a_peak(detector):
    size, centres = 640, [(320.0 + 20.0 * i, 320.0 + 19.0 * j) for i in range(3) for j in range(3)]
    rgb, _ = paint_field(size, size, detector.card.um_per_px, leukocytes=centres)
    (peaks,) = detector.detect(rgb[None], WHITE, RED_CELL)
    assert len(peaks) >= len(centres)
    other = np.random.default_rng(0).integers(0, 256, rgb.shape, np.uint8)
    for peak in peaks[:: len(peaks) // 6]:
        x0, y0 = (int(at - MARGIN_PX) // STRIDE * STRIDE for at in (peak.x, peak.y))
        kept = np.s_[y0 : int(peak.y + MARGIN_PX) + 1, x0 : int(peak.x + MARGIN_PX) + 1]
        changed = other.copy()
        changed[kept] = rgb[kept]
        (found,) = detector.detect(changed[None], WHITE, RED_CELL)
        values = [(one.x, one.y, one.diameter_um, one.score) for one in found]
        away = np.abs(np.array(values) - (peak.x, peak.y, peak.diameter_um, peak.score)).max(axis=1)
        assert away.min() < 1e-4, peak


def test_a_hotter_peak_that_is_no_leukocyte_silences_none_beside_it(detector, monkeypatch):
    heat = np.zeros((80, 80), np.float32)
    heat[40, 36], heat[40, 40], heat[40, 44] = 0.6, 0.9, 0.6

    def map_heat(network, density, device):
        return np.stack([heat, np.full_like(heat, 13.0)])[None]

    def judge(network, density, rows, cols, device):
        return np.where(cols == 40, -20.0, 10.0).astype(np.float32)

    monkeypatch.setattr("models.detector.map_fields", map_heat)
    monkeypatch.setattr("models.detector.verify", judge)
    (peaks,) = detector.detect(np.full((1, 160, 160, 3), 250, np.uint8), WHITE, RED_CELL)
    at = [
        (OUTPUT_STRIDE * 36.5, OUTPUT_STRIDE * 40.5),
        (OUTPUT_STRIDE * 44.5, OUTPUT_STRIDE * 40.5),
    ]
    assert [(peak.x, peak.y) for peak in peaks] == at


def test_shipped_weights_are_small_and_say_what_they_are_for(detector):
    weights = locate_weights(DEFAULT_DETECTOR) / WEIGHTS_FILE
    assert weights.stat().st_size < 4_000_000
    assert "research use only" in detector.card.statement.lower()
    assert {"bccd", "bcd"} <= detector.card.evaluation.keys()


def test_unknown_weights_are_unavailable():
    with pytest.raises(WeightsUnavailable, match=DEFAULT_DETECTOR):
        Detector.load("no-such-detector")


def test_tampered_weights_are_refused(tmp_path):
    copy = shutil.copytree(locate_weights(DEFAULT_DETECTOR), tmp_path / "copy")
    weights = copy / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(WeightsCorrupt):
        Detector.load(str(copy))


def test_a_card_of_another_kind_is_refused(tmp_path):
    copy = shutil.copytree(locate_weights(DEFAULT_DETECTOR), tmp_path / "copy")
    (copy / CARD_FILE).write_text(json.dumps({"name": "classifier"}))
    with pytest.raises(WeightsCorrupt, match="card"):
        Detector.load(str(copy))
