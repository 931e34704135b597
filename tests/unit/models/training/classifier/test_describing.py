from dataclasses import replace

from models.taxonomy import CODES
from models.training.classifier.describing import (
    UNKNOWN_LICENCE,
    describe_limitations,
    describe_recipe,
    describe_source,
)
from tests.training_runs import RECIPE


def test_limitations_name_what_the_training_cells_lack():
    every = dict.fromkeys(map(str, CODES), 5)
    assert not any("never named" in text for text in describe_limitations({"lmu": every}))
    mixed = describe_limitations({"deepapl": {"MYO": 3, "NGS": 4}, "pbc": {"NGS": 9}})
    assert any("No training cells of BAS, EBO" in text for text in mixed)
    assert any("All sources were scanned by CellaVision" in text for text in mixed)
    assert any("Blasts come from deepapl only" in text for text in mixed)
    assert not any("CellaVision" in text for text in describe_limitations({"elsewhere": every}))


def test_the_recipe_is_told_in_a_line():
    assert describe_recipe(RECIPE, 4) == (
        "tiny: 4 epochs, input 32 → 48 px, from random weights, cross entropy, seed 2019, moving"
        " average 0.8; none picked on validation cells"
    )
    assert "3 epochs of 4, stopped" in describe_recipe(replace(RECIPE, ema_decay=0.0), 3)
    assert "weights of the last step" in describe_recipe(replace(RECIPE, ema_decay=0.0), 4)
    assert "from ImageNet weights" in describe_recipe(replace(RECIPE, init="imagenet"), 4)


def test_a_source_nobody_knows_says_so():
    source = describe_source("elsewhere", {"NGS": 3, "MYO": 4})
    assert (source.cells, source.licence, source.stain) == (7, UNKNOWN_LICENCE, None)
    assert describe_source("pbc", {"NGS": 3}).licence == "CC BY 4.0"
