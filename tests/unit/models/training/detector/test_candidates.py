import numpy as np
import pytest
import torch

from models.nets.heatmap import OUTPUT_STRIDE, HeatmapNet
from models.training.detector.candidates import (
    BESIDE,
    FAINT_WEIGHT,
    UNSURE_WEIGHT,
    CandidateDataset,
    choose_candidates,
    join_samples,
)
from models.training.detector.canvas import Canvas
from models.verifier import CROP_PX

SIZE = 128
UM_PER_PX = 0.58
DIAMETER_PX = 14.5 / UM_PER_PX


def canvas_of(*labels: tuple[float, float], stained: float = 0.0) -> Canvas:
    rows = [[x, y, 14.5, 1.0] for x, y in labels]
    density = np.full((3, SIZE, SIZE), stained, np.float32)
    return Canvas(
        density, np.array(rows).reshape(-1, 4), np.zeros((SIZE, SIZE), bool), um_per_px=UM_PER_PX
    )


def heat_at(*peaks: tuple[float, float, float]) -> np.ndarray:
    heat = np.zeros((SIZE // OUTPUT_STRIDE,) * 2, np.float32)
    for x, y, value in peaks:
        heat[int(y // OUTPUT_STRIDE), int(x // OUTPUT_STRIDE)] = value
    return heat


def choose(canvas: Canvas, heat: np.ndarray):
    chosen = choose_candidates(canvas, heat, np.random.default_rng(0))
    return [tuple(part.tolist() for part in row) for row in zip(*chosen, strict=True)]


def test_a_peak_on_a_leukocyte_is_one_and_a_peak_elsewhere_is_none():
    chosen = choose(canvas_of((40, 40)), heat_at((41, 40, 0.9), (90, 90, 0.4)))
    assert [(leukocyte, weight) for *_, leukocyte, weight in chosen] == [
        (True, 1.0),
        (False, pytest.approx(0.3 + 6.0 * 0.4)),
    ]


def test_a_peak_beside_a_leukocyte_teaches_nothing():
    beside = 40 + 0.5 * DIAMETER_PX
    chosen = choose(canvas_of((40, 40)), heat_at((40, 40, 0.9), (beside, 40, 0.5)))
    assert [leukocyte for *_, leukocyte, _ in chosen] == [True]
    beyond = 41 + BESIDE * DIAMETER_PX + OUTPUT_STRIDE
    assert len(choose(canvas_of((40, 40)), heat_at((40, 40, 0.9), (beyond, 40, 0.5)))) == 2


def test_a_leukocyte_without_a_peak_is_learned_and_weighs_more():
    ((row, col, leukocyte, weight),) = choose(canvas_of((40, 60)), heat_at())
    assert (row, col) == (30, 20)
    assert leukocyte and weight == UNSURE_WEIGHT


def test_what_nobody_knows_teaches_nothing():
    canvas = canvas_of((40, 40), stained=1.0)
    canvas.ignored[:] = True
    assert choose(canvas, heat_at((90, 90, 0.9))) == []


def test_a_stained_place_that_no_peak_names_is_learned_now_and_then():
    canvas, heat = canvas_of(stained=1.0), heat_at()
    found = [
        len(choose_candidates(canvas, heat, np.random.default_rng(seed))[0]) for seed in range(60)
    ]
    assert set(found) == {0, 1}
    rows = choose_candidates(canvas, heat, np.random.default_rng(found.index(1)))
    assert not rows[2].any() and rows[3].tolist() == [FAINT_WEIGHT]


def test_candidates_at_the_rim_are_left_out():
    assert choose(canvas_of((5, 60)), heat_at((5, 60, 0.9), (60, SIZE - 5, 0.9))) == []


class OneCanvas:
    def draw(self, index: int) -> Canvas:
        return canvas_of((40, 40), (90, 80))


def test_an_item_is_the_same_every_time():
    torch.manual_seed(0)
    data = CandidateDataset(OneCanvas(), HeatmapNet(width=4).eval(), seed=1)
    for one, other in zip(data[3], data[3], strict=True):
        assert torch.equal(one, other)
    crops, leukocyte, weight = data[3]
    assert crops.shape[1:] == (3, CROP_PX, CROP_PX)
    assert len(crops) == len(leukocyte) == len(weight) >= 2


def test_in_a_batch_leukocytes_and_others_weigh_a_half_each():
    crops = torch.zeros(3, 3, 4, 4)
    sample = crops, torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 1.5, 0.3])
    joined, leukocyte, weight = join_samples([sample, sample])
    assert len(joined) == 6
    assert float(weight[leukocyte == 1].sum()) == pytest.approx(0.5)
    assert float(weight[leukocyte == 0].sum()) == pytest.approx(0.5)


def test_a_batch_without_leukocytes_is_no_error():
    sample = torch.zeros(2, 3, 4, 4), torch.zeros(2), torch.ones(2)
    weight = join_samples([sample])[2]
    assert weight.tolist() == [0.25, 0.25]
