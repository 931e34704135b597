import numpy as np
import pytest

from worker.demo.population import plant_leukocytes
from worker.demo.scene import Scene
from worker.demo.smear import Smear
from worker.demo.stain import MAY_GRUNWALD_GIEMSA
from worker.slide.geometry import Size

SIZE = Size(3072, 1920)
UM_PER_PX = 0.145


def fresh_scene(seed: int = 5) -> Scene:
    smear = Smear(SIZE.width * UM_PER_PX, SIZE.height * UM_PER_PX, seed)
    cells = plant_leukocytes(smear, seed, 6, 0.2)
    return Scene(SIZE, UM_PER_PX, smear, cells, MAY_GRUNWALD_GIEMSA, seed)


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return fresh_scene().read(0, 0, SIZE.width, SIZE.height)


def test_pixels_do_not_depend_on_how_the_slide_is_cut(whole: np.ndarray) -> None:
    scene = fresh_scene()
    for y in (0, 777):
        for x in (0, 1001, 2500):
            part = scene.read(x, y, 500, 700)
            assert np.array_equal(part, whole[y : y + 700, x : x + 500]), (x, y)


def test_pixels_do_not_depend_on_the_order_of_reading(whole: np.ndarray) -> None:
    scene = fresh_scene()
    for x in range(2560, -1, -512):
        assert np.array_equal(scene.read(x, 300, 512, 256), whole[300:556, x : x + 512])


def test_a_thick_end_is_darker_than_the_monolayer_and_the_tail_is_brightest(
    whole: np.ndarray,
) -> None:
    columns = whole.mean(axis=(0, 2))
    width = len(columns)
    thick = columns[int(0.08 * width) : int(0.15 * width)].mean()
    layer = columns[int(0.4 * width) : int(0.6 * width)].mean()
    tail = columns[int(0.87 * width) : int(0.93 * width)].mean()
    assert thick < layer < tail
