import numpy as np
import pytest
import torch
from torch import nn

from models.errors import PatchShapeError, SaliencyError
from models.predictor import Classifier
from models.saliency import saliency_maps
from models.taxonomy import CODES, INDEX, CellClass
from tests.cards import make_card

RNG = np.random.default_rng(5)


class MeanColour(nn.Module):
    """Logits linear in the mean colour, so that gradients can be written down."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CODES))
        weights = np.random.default_rng(1).normal(0, gain, (len(CODES), 3))
        self.head.weight.data = torch.tensor(weights, dtype=torch.float32)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


class MiddleOnly(nn.Module):
    """Sees the central tenth of a patch and nothing else, not linearly."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CODES))

    def forward(self, x):
        middle = x[:, :, 180:220, 180:220]
        return self.head(torch.tanh(middle).mean((2, 3))) * 20


def random_patches(count: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, 400, 400, 3), np.uint8)


def test_the_map_is_the_gradient_of_the_cross_entropy_worked_out_by_hand():
    network = MeanColour()
    card = make_card(temperature=2.0)
    classifier = Classifier(network, card)
    patches = random_patches(2)
    targets = [CellClass.MYO, CellClass.NGS]
    slope = classifier.predict(patches).astype(np.float64)
    slope[[0, 1], [INDEX[target] for target in targets]] -= 1.0
    per_channel = slope @ network.head.weight.detach().numpy().astype(np.float64)
    per_pixel = np.abs(per_channel / card.std / 400**2 / card.temperature).max(axis=1)
    maps = saliency_maps(classifier, patches, targets)
    assert maps.shape == (2, 400, 400)
    np.testing.assert_allclose(maps, np.broadcast_to(per_pixel[:, None, None], maps.shape), 1e-4)


def test_without_targets_the_class_the_network_names_is_explained():
    classifier = Classifier(MeanColour(), make_card())
    patches = random_patches(3)
    named = [CODES[i] for i in classifier.predict(patches).argmax(axis=1)]
    np.testing.assert_array_equal(
        saliency_maps(classifier, patches), saliency_maps(classifier, patches, named)
    )


def test_a_cell_named_with_certainty_still_has_a_map():
    network = MeanColour(gain=0.1)
    network.head.bias.data[INDEX[CellClass.LYT]] = 40.0
    classifier = Classifier(network, make_card())
    patches = random_patches(1)
    assert classifier.predict(patches)[0, INDEX[CellClass.LYT]] == 1.0
    faint = saliency_maps(classifier, patches)
    assert (faint > 0).all()
    assert faint.max() < 1e-15


def test_unsupported_classes_neither_break_the_gradient_nor_can_be_asked_for():
    classifier = Classifier(MeanColour(), make_card(unsupported=(CellClass.MOB, CellClass.PMB)))
    patches = random_patches(2)
    assert np.isfinite(saliency_maps(classifier, patches)).all()
    with pytest.raises(SaliencyError, match="cannot name MOB"):
        saliency_maps(classifier, patches, [CellClass.MOB, CellClass.MYO])


def test_weights_collect_no_gradients_even_inside_inference_mode():
    network = MeanColour()
    classifier = Classifier(network, make_card())
    with torch.inference_mode():
        maps = saliency_maps(classifier, random_patches(1), samples=2)
    assert maps.max() > 0
    assert network.head.weight.grad is None
    assert network.head.weight.requires_grad


@pytest.mark.parametrize("samples", [0, 3])
def test_a_patch_has_the_same_map_alone_and_among_others(samples):
    patches = random_patches(5)
    one = Classifier(MiddleOnly(), make_card(), batch_size=2)
    whole = saliency_maps(one, patches, samples=samples, seed=7)
    for index in range(5):
        alone = saliency_maps(one, patches[index : index + 1], samples=samples, seed=7)[0]
        np.testing.assert_allclose(alone, whole[index], rtol=1e-4, atol=1e-9)


def test_pixels_that_the_network_ignores_have_no_saliency():
    maps = saliency_maps(Classifier(MiddleOnly(), make_card()), random_patches(1), samples=2)
    assert (maps[0, 180:220, 180:220] > 0).mean() > 0.99
    maps[0, 180:220, 180:220] = 0
    assert maps.max() == 0


def test_smoothing_depends_on_seed_and_noise_and_vanishes_without_noise():
    classifier = Classifier(MiddleOnly(), make_card())
    patches = random_patches(1)
    first = saliency_maps(classifier, patches, samples=2, seed=1)
    np.testing.assert_array_equal(first, saliency_maps(classifier, patches, samples=2, seed=1))
    assert not np.array_equal(first, saliency_maps(classifier, patches, samples=2, seed=2))
    np.testing.assert_allclose(
        saliency_maps(classifier, patches, samples=2, noise=0.0),
        saliency_maps(classifier, patches),
        rtol=1e-5,
        atol=1e-12,
    )


def test_no_patches_give_no_maps():
    maps = saliency_maps(Classifier(MeanColour(), make_card()), random_patches(0))
    assert maps.shape == (0, 400, 400)


def test_bad_patches_and_settings_are_refused():
    classifier = Classifier(MeanColour(), make_card())
    with pytest.raises(PatchShapeError, match=r"\(1, 64, 64, 3\)"):
        saliency_maps(classifier, np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(SaliencyError, match="1 targets for 2 patches"):
        saliency_maps(classifier, random_patches(2), [CellClass.MYO])
    with pytest.raises(SaliencyError, match=r"noise 1\.5"):
        saliency_maps(classifier, random_patches(1), samples=2, noise=1.5)
    with pytest.raises(SaliencyError, match="samples -1"):
        saliency_maps(classifier, random_patches(1), samples=-1)
