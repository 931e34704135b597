"""How a classifier is trained: every choice in one frozen record, saved beside the weights."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of a training crop, each drawn anew per image and epoch.

    Attributes:
        scale: standard deviation of the log of the magnification.
        shift_um: standard deviation of the cell's offset from the centre, µm, per axis.
        stain_gain: standard deviation of the log of each RGB channel's optical density.
        stain_mix: standard deviation of the off-diagonal terms that mix optical densities.
        glass: standard deviation of the log of each channel's glass brightness.
        blur: probability of a Gaussian blur, sigma up to 1.5 px of the network's input.
        noise: largest standard deviation of additive noise, 0–1 scale.
        fade: probability that all beyond the cell fades into the glass colour, so that the
            neighbourhood cannot tell the laboratory.
    """

    scale: float = 0.10
    shift_um: float = 0.8
    stain_gain: float = 0.15
    stain_mix: float = 0.05
    glass: float = 0.06
    blur: float = 0.3
    noise: float = 0.02
    fade: float = 0.25


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run.

    Attributes:
        network: a name in `models.nets.registry.NETWORKS`.
        stages: (epochs, input px) in turn; the last is what the card will say.
        batch_size: crops per step.
        learning_rate: peak of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        label_smoothing: of the cross-entropy; labels of routine laboratories are noisy.
        ema_decay: of the exponential moving average of weights that is evaluated and exported.
        class_power: a class of n crops is drawn in proportion to n ** class_power; 1 is as found,
            0 is balanced. A class's draws are split evenly between its sources.
        precision: Lightning's name for it.
        seed: of data order, augmentation and initial weights.
    """

    network: str = "resnext50_32x4d"
    stages: tuple[tuple[int, int], ...] = ((12, 96), (5, 128))
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    ema_decay: float = 0.998
    class_power: float = 0.5
    precision: str = "bf16-mixed"
    seed: int = 2019
    augmentation: Augmentation = field(default_factory=Augmentation)

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


RECIPES: Final[dict[str, Recipe]] = {
    "served-cpu": Recipe(),
    "served-gpu": Recipe(stages=((20, 224), (30, 320), (10, 400)), batch_size=64),
}
"""What `smearscan train fit --recipe` knows. `served-gpu` has not been run yet."""
