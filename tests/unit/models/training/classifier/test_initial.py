from dataclasses import replace

import pytest
import torch

from models.catalogue import DEFAULT_CLASSIFIER
from models.errors import WeightsUnavailable
from models.nets.registry import build_network
from models.predictor import Classifier
from models.taxonomy import CODES
from models.training.classifier.initial import freeze, initialise
from models.training.classifier.loss import ClassLoss
from models.training.classifier.module import ClassifierModule
from models.training.classifier.recipe import Recipe, RecipeError, recipe_from_record

AGAIN = Recipe(
    name="again",
    network="efficientnet_lite0",
    init="weights",
    init_weights=DEFAULT_CLASSIFIER,
    frozen_blocks=2,
)


def test_a_run_begins_with_all_of_the_weights_it_names():
    network = build_network(AGAIN.network, len(CODES))
    initialise(network, AGAIN)
    served = Classifier.load(DEFAULT_CLASSIFIER).network.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, served[name]), name


def test_unknown_weights_are_said_to_be_unknown():
    network = build_network(AGAIN.network, len(CODES))
    with pytest.raises(WeightsUnavailable, match="no weights called 'elsewhere'"):
        initialise(network, replace(AGAIN, init_weights="elsewhere"))


def test_stem_and_first_blocks_are_frozen_and_no_others():
    network = build_network(AGAIN.network, len(CODES))
    frozen = freeze(network, 2)
    names = [n for n, p in network.named_parameters() if not p.requires_grad]
    assert {name.split(".")[0] for name in names} == {"_conv_stem", "_bn0", "_blocks"}
    assert {name.split(".")[1] for name in names if name.startswith("_blocks")} == {"0", "1"}
    assert len(frozen) == 4
    assert freeze(build_network(AGAIN.network, len(CODES)), 0) == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"init": "weights"}, "come together"),
        ({"init_weights": DEFAULT_CLASSIFIER}, "come together"),
        ({"frozen_blocks": 1, "network": "resnext50_32x4d"}, "not resnext50_32x4d"),
    ],
)
def test_fields_that_do_not_fit_together_are_named(fields, said):
    with pytest.raises(RecipeError, match=said):
        recipe_from_record({"name": "odd"} | fields, where="odd.toml")


def test_frozen_blocks_keep_their_batch_statistics_in_training():
    plain = ClassLoss(AGAIN.loss, counts=[1] * len(CODES), shares=torch.full((15,), 1 / 15))
    module = ClassifierModule(AGAIN, loss=plain, steps_per_epoch=1).train()
    before = {name: b.clone() for name, b in module.network.named_buffers() if "running" in name}
    module.network(torch.rand(2, 3, 64, 64))
    moved = {
        n.split(".")[1]
        for n, b in module.network.named_buffers()
        if n in before and not torch.equal(b, before[n]) and "_blocks" in n
    }
    assert {"0", "1"}.isdisjoint(moved)
    assert "2" in moved
    learnt = [
        p for g in module.configure_optimizers()["optimizer"].param_groups for p in g["params"]
    ]
    assert all(p.requires_grad for p in learnt)
