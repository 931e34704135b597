"""How a classifier is trained: every choice in one frozen record, read from a file.

A recipe is a TOML file whose keys are the fields of `Recipe`; what it leaves out is the default.
Those that come with smearscan lie in `models/training/recipes`. The record is saved with the run.
"""

import tomllib
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from models.errors import ModelError
from models.nets.registry import NETWORKS

RECIPES: Final = Path(__file__).parents[1] / "recipes"
_STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False)

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Colour = tuple[float, float, float]


class RecipeError(ModelError):
    """A recipe is unknown, or a field of it is missing, misspelt or out of range."""


@dataclass(config=_STRICT, frozen=True, slots=True)
class Augmentation:
    """Random changes of a training crop, each drawn anew per image and epoch.

    Rotation by any angle and mirroring are always done.

    Attributes:
        scale: standard deviation of the log of the magnification.
        shift_um: standard deviation of the cell's offset from the centre, µm, per axis.
        stain_gain: standard deviation of the log of each RGB channel's optical density.
        stain_mix: standard deviation of the off-diagonal terms that mix optical densities.
        glass: standard deviation of the log of each channel's glass brightness.
        blur: probability of a Gaussian blur, sigma up to 1.5 px of the network's input.
        sharpen: probability of an unsharp mask, sigma up to 2 px of the network's input, amount up
            to 2: what scanners and stitching programs do to pictures.
        noise: largest standard deviation of additive noise, 0–1 scale.
        fade: probability that all beyond the cell fades into the glass colour, so that the
            neighbourhood cannot tell the laboratory.
    """

    scale: Spread = 0.10
    shift_um: Spread = 0.8
    stain_gain: Spread = 0.15
    stain_mix: Spread = 0.05
    glass: Spread = 0.06
    blur: Share = 0.3
    sharpen: Share = 0.0
    noise: Spread = 0.02
    fade: Share = 0.25


@dataclass(config=_STRICT, frozen=True, slots=True)
class Loss:
    """What a batch is punished for.

    Attributes:
        kind: "cross_entropy"; "logit_adjusted" adds tau · log(share of a class among the draws) to
            its logit in training, so that rare classes are not forgotten and the network is right
            for classes of equal frequency (Menon et al. 2021, "Long-tail learning via logit
            adjustment"); "class_balanced" weighs a class of n cells by (1 − beta) / (1 − beta ** n)
            (Cui et al. 2019, "Class-balanced loss based on effective number of samples").
        tau: of the logit adjustment; 1 is the theory's.
        beta: of the class-balanced weights.
        label_smoothing: share of the target spread over the supported classes; labels of routine
            laboratories are noisy.
    """

    kind: Literal["cross_entropy", "logit_adjusted", "class_balanced"] = "cross_entropy"
    tau: Spread = 1.0
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.999
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05


@dataclass(config=_STRICT, frozen=True, slots=True)
class Teaching:
    """Learn, besides each label, what networks that never saw the cell say of it.

    Labels are wrong here and there. A teacher that was trained on a cell repeats its label, right
    or wrong; one of a fold that held the cell out cannot. Dao T, Kamath GM, Syrgkanis V, Mackey L.
    "Knowledge distillation as semiparametric inference." ICLR 2021.

    Attributes:
        held_out_by: directory of a cross-validation (`smearscan train crossval`) of these cells.
        share: of the target that is the held-out probabilities; the rest is the label's.
    """

    held_out_by: str
    share: Share = 0.5


@dataclass(config=_STRICT, frozen=True, slots=True)
class EarlyStopping:
    """Stop when a part of the training cells, kept from training, is no longer learnt better.

    The cells held out for figures are never looked at: they would flatter the figures.

    Attributes:
        patience: epochs without a lower log loss before the run stops.
        min_epochs: never stop before.
        share: of the training cells (in whole groups) that is kept from training.
    """

    patience: Count
    min_epochs: Count = 20
    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1


@dataclass(config=_STRICT, frozen=True, slots=True)
class Recipe:
    """One training run.

    Attributes:
        name: of the recipe.
        note: where it comes from, in a sentence.
        network: a name in `models.nets.registry.NETWORKS`.
        init: "random"; "imagenet" for what `models.training.classifier.initial` has; "weights" for
            those called `init_weights`, head included.
        init_weights: name or directory of weights of the same network.
        frozen_blocks: an EfficientNet-lite's stem and so many first blocks stay as they began,
            batch statistics included: on a CPU they take half of a step's time.
        stages: (epochs, input px) in turn; the last is what the card will say.
        batch_size: crops per step, over all devices together.
        optimiser: "adamw", "adam" or "sgd" (momentum 0.9).
        schedule: "one_cycle" and "cosine" rise for `warm_up` of all steps, then fall to zero;
            "constant" does neither.
        warm_up: share of all steps.
        learning_rate: at its peak.
        weight_decay: not applied to biases and normalisation.
        ema_decay: of the moving average of weights, which is what is evaluated and exported; 0
            takes the last step's weights.
        draws_per_class: an epoch draws each class this often, each of its cells equally often but
            for one; None draws as many as there are cells, by `class_power`.
        class_power: a class of n crops is drawn in proportion to n ** class_power, with
            replacement; 1 is as found, 0 is balanced.
        source_balanced: a class's draws are split evenly between the sources that have it.
        field_um: width kept of every training crop; wider than the patch leaves room to rotate.
        patch_um: width of the classifier's view, µm (Matek et al. 2019: 400 px of 0.0725 µm).
        mean: RGB, 0–1, subtracted; saved in the card.
        std: RGB, 0–1, divided by.
        precision: Lightning's name for it.
        seed: of data order, augmentation and initial weights.
    """

    name: str
    note: str = ""
    network: str = "resnext50_32x4d"
    init: Literal["random", "imagenet", "weights"] = "random"
    init_weights: str | None = None
    frozen_blocks: Annotated[int, Field(ge=0)] = 0
    stages: Annotated[tuple[tuple[Count, Count], ...], Field(min_length=1)] = ((12, 96), (5, 128))
    batch_size: Count = 32
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warm_up: Share = 0.15
    learning_rate: Positive = 1e-3
    weight_decay: Spread = 0.05
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    draws_per_class: Count | None = None
    class_power: Share = 0.5
    source_balanced: bool = True
    field_um: Positive = 36.0
    patch_um: Positive = 29.0
    mean: Colour = (0.85, 0.72, 0.71)
    std: Colour = (0.18, 0.22, 0.12)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 2019
    loss: Loss = field(default_factory=Loss)
    augmentation: Augmentation = field(default_factory=Augmentation)
    teaching: Teaching | None = None
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "Recipe":
        if self.network not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise ValueError(f"network {self.network!r} is not registered; known: {known}")
        if self.field_um < self.patch_um:
            raise ValueError(f"field_um {self.field_um:g} is less than patch_um {self.patch_um:g}")
        if (self.init == "weights") != (self.init_weights is not None):
            raise ValueError('init = "weights" and init_weights come together')
        if self.frozen_blocks and not self.network.startswith("efficientnet_lite"):
            raise ValueError(f"frozen_blocks is known for efficientnet_lite, not {self.network}")
        if self.warm_up >= 1:
            raise ValueError("warm_up must leave steps to fall in: below 1")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(epochs for epochs, _ in self.stages)

    @property
    def input_px(self) -> int:
        """Input size of the last stage, the one to serve."""
        return self.stages[-1][1]

    def input_px_at(self, epoch: int) -> int:
        """Input size of an epoch, counted from 0."""
        for epochs, px in self.stages:
            if epoch < epochs:
                return px
            epoch -= epochs
        return self.input_px

    def as_record(self) -> dict[str, Any]:
        """As JSON holds it; `recipe_from_record` reads it back."""
        return asdict(self)


_ADAPTER: Final = TypeAdapter(Recipe)


def list_recipes() -> list[str]:
    """Names of the recipes that come with smearscan."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from a TOML file of one's own.

    Raises:
        RecipeError: there is none, or a field is misspelt or out of range; every such field is
            named with its value.
    """
    built_in = RECIPES / f"{name}.toml"
    path = built_in if built_in.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(list_recipes())
        raise RecipeError(f"no recipe or file called {name!r}; known recipes: {known}")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise RecipeError(f"{path.name} is not TOML: {err}") from err
    return recipe_from_record({"name": path.stem} | fields, where=path.name)


def recipe_from_record(record: Any, *, where: str) -> Recipe:
    """A recipe from what TOML or JSON holds.

    Raises:
        RecipeError: it is not a recipe.
    """
    try:
        return _ADAPTER.validate_python(record)
    except ValidationError as err:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'recipe'} = {e['input']!r}: {e['msg']}"
            if e["loc"]
            else e["msg"]
            for e in err.errors()
        )
        raise RecipeError(f"{where}: {problems}") from err
