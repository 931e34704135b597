import math

import numpy as np
import pytest
import torch

from models.errors import SaliencyError
from models.nets import registry
from models.predictor import Classifier
from models.saliency import saliency_maps
from models.saliency_checks import disc_share, in_cell_mass, randomisation_check, rank_correlation
from models.taxonomy import CODES, CellClass
from tests.cards import make_card


def test_a_map_without_preference_has_the_mass_of_the_discs_area():
    maps = np.ones((2, 400, 400), np.float32)
    mass = in_cell_mass(maps, diameter_um=14.5, patch_um=29.0)
    share = disc_share(diameter_um=14.5, patch_um=29.0)
    np.testing.assert_allclose(mass, share)
    assert share == pytest.approx(math.pi / 16, rel=1e-3)


def test_mass_is_counted_inside_the_cell_of_each_patch():
    maps = np.zeros((3, 400, 400), np.float32)
    maps[:2, 200, 200] = 3.0
    maps[:2, 200, 300] = 1.0  # 100.5 px of 0.0725 µm from the centre: 7.3 µm
    mass = in_cell_mass(maps, diameter_um=np.array([14.0, 15.0, 15.0]), patch_um=29.0)
    np.testing.assert_allclose(mass, [0.75, 1.0, np.nan])


def test_impossible_diameters_are_refused():
    maps = np.ones((2, 40, 40), np.float32)
    with pytest.raises(SaliencyError, match="above 0"):
        in_cell_mass(maps, diameter_um=0.0, patch_um=29.0)
    with pytest.raises(SaliencyError, match="3 diameters for 2 maps"):
        in_cell_mass(maps, diameter_um=np.array([5.0, 5.0, 5.0]), patch_um=29.0)


def test_rank_correlation_sees_order_alone():
    one = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1.0)
    assert rank_correlation(one, -one) == pytest.approx(-1.0)
    # ranks 1 2 3 4 and 2 1 4 3: 1 − 6 · 4 / (4 · 15)
    other = np.array([[2.0, 1.0], [4.0, 3.0]], np.float32)
    assert rank_correlation(one, other) == pytest.approx(0.6)
    assert math.isnan(rank_correlation(one, np.ones_like(one)))


def build_small(n_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 7, stride=4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, n_classes),
    )


@pytest.fixture
def small(monkeypatch) -> Classifier:
    monkeypatch.setitem(registry.NETWORKS, "small", build_small)
    torch.manual_seed(11)
    return Classifier(build_small(len(CODES)), make_card(network="small", input_px=64))


def test_randomising_goes_from_the_head_down_and_leaves_the_classifier_alone(small):
    patches = np.random.default_rng(0).integers(0, 256, (2, 400, 400, 3), np.uint8)
    before = saliency_maps(small, patches, [CellClass.MYO, CellClass.NGS])
    check = randomisation_check(small, patches, [CellClass.MYO, CellClass.NGS])
    assert check.parts == ("6", "2", "0")
    assert check.correlation.shape == (3, 2)
    np.testing.assert_array_equal(
        before, saliency_maps(small, patches, [CellClass.MYO, CellClass.NGS])
    )


def test_randomising_all_at_once_ends_where_the_cascade_ends_and_lowers_the_correlation(small):
    patches = np.random.default_rng(0).integers(0, 256, (2, 400, 400, 3), np.uint8)
    cascade = randomisation_check(small, patches, seed=3)
    at_once = randomisation_check(small, patches, seed=3, cascade=False)
    np.testing.assert_allclose(at_once.correlation[0], cascade.correlation[-1], atol=1e-6)
    assert (at_once.correlation < 0.5).all()
    assert rank_correlation(*saliency_maps(small, patches[[0, 0]])) == pytest.approx(1.0)


def test_maps_of_the_served_weights_lie_on_the_cell_and_need_the_weights(real_data):
    from models.training.data.crops import read_crops
    from models.training.data.manifest import LabelledCell

    paths = [next((real_data / "lmu" / code).glob("*.tiff")) for code in ("LYT", "MYO", "NGS")]
    cells = [LabelledCell(p, "lmu", CellClass(p.parent.name), "", 0.0725) for p in sorted(paths)]
    patches, readable = read_crops(cells, field_um=29.0, px=400)
    assert readable == [0, 1, 2]
    classifier = Classifier.load()
    area = disc_share(diameter_um=16.0, patch_um=29.0)
    for samples in (0, 8):
        maps = saliency_maps(classifier, patches, samples=samples)
        mass = in_cell_mass(maps, diameter_um=16.0, patch_um=29.0)
        assert (mass > 1.5 * area).all()
    check = randomisation_check(classifier, patches, cascade=False)
    assert (check.correlation < 0.5).all()
