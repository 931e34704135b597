import json

import pytest

from models.training.classifier.recipe import (
    Recipe,
    RecipeError,
    list_recipes,
    load_recipe,
    recipe_from_record,
)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_that_comes_along_loads_and_survives_json(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    record = json.loads(json.dumps(recipe.as_record()))
    assert recipe_from_record(record, where="recipe.json") == recipe


def test_the_papers_recipe_says_what_the_paper_says():
    recipe = load_recipe("matek2019")
    assert recipe.network.startswith("resnext50_32x4d")
    assert recipe.stages == ((20, 400),)
    assert recipe.draws_per_class == 10_000
    assert recipe.field_um == recipe.patch_um == 29.0
    assert recipe.loss.kind == "cross_entropy" and recipe.loss.label_smoothing == 0
    assert not any(vars_of(recipe.augmentation).values())


def vars_of(record) -> dict[str, float]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_ones_own_file_changes_what_it_names_and_is_called_after_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seed = 7\nstages = [[3, 64]]\n[loss]\nkind = 'class_balanced'\n")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.seed, recipe.epochs, recipe.input_px) == ("mine", 7, 3, 64)
    assert recipe.loss.kind == "class_balanced"
    assert recipe.batch_size == Recipe(name="x").batch_size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 7", "sead = 7"),
        ("batch_size = 0", "batch_size = 0"),
        ("learning_rate = nan", "learning_rate"),
        ("network = 'resnet9000'", "resnext50_32x4d"),
        ("field_um = 20.0", "less than patch_um 29"),
        ("stages = []", "stages"),
        ("[loss]\nkind = 'focal'", "loss.kind = 'focal'"),
        ("[augmentation]\nblur = 1.5", "augmentation.blur = 1.5"),
        ("seed =", "not TOML"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_value(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.toml") as caught:
        load_recipe(str(path))
    assert said in str(caught.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(RecipeError, match="matek2019"):
        load_recipe("matek2020")


def test_the_input_grows_with_the_stages():
    recipe = Recipe(name="x", stages=((2, 32), (2, 48)))
    assert [recipe.input_px_at(epoch) for epoch in range(5)] == [32, 32, 48, 48, 48]
    assert (recipe.epochs, recipe.input_px) == (4, 48)
