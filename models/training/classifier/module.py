"""One training step of a classifier, and its optimiser."""

import math
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from models.nets.registry import build_network
from models.preprocess import normalise, resize, to_tensor
from models.taxonomy import CODES
from models.training.classifier.augment import augment
from models.training.classifier.initial import freeze, initialise
from models.training.classifier.loss import ClassLoss
from models.training.classifier.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]
"""Crops, uint8 of shape (B, px, px, 3), the columns of their labels, shape (B,), and what else is
believed of them, shape (B, 15), or (B, 0) where the labels alone count."""


class ClassifierModule(lightning.LightningModule):
    """Trains a network on augmented views of crops.

    What is drawn at random depends on the recipe's seed, the epoch, the step and the device alone,
    so a run that was stopped anywhere goes on as if it had not been.

    Args:
        recipe: what to do.
        loss: of logits and labels.
        steps_per_epoch: of all devices together.
    """

    def __init__(self, recipe: Recipe, *, loss: ClassLoss, steps_per_epoch: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps = steps_per_epoch * recipe.epochs
        network = build_network(recipe.network, len(CODES))
        initialise(network, recipe)
        freeze(network, recipe.frozen_blocks)
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.loss = loss

    def train(self, mode: bool = True) -> Self:
        """As ever, but frozen blocks keep their batch statistics."""
        super().train(mode)
        for part in freeze(self.network, self.recipe.frozen_blocks):
            part.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one augmented batch."""
        crops, labels, beliefs = batch
        views = self._normalise(self._view(crops, step=batch_idx))
        logits = self.network(views).float()
        loss: Tensor = self.loss(logits, labels.to(self.device), beliefs.to(self.device))
        self.log("loss", loss, prog_bar=True, on_epoch=True, on_step=True, batch_size=len(labels))
        return loss

    def _view(self, crops: Tensor, *, step: int) -> Tensor:
        rank = self.trainer.global_rank
        seed = ((self.recipe.seed * 100_003 + self.current_epoch) * 100_003 + step) * 1_009 + rank
        torch.manual_seed(seed % 2**63)  # of dropout
        rng = torch.Generator(self.device).manual_seed(seed % 2**63)
        with torch.autocast(self.device.type, enabled=False):
            return augment(
                to_tensor(crops.to(self.device)),
                field_um=self.recipe.field_um,
                patch_um=self.recipe.patch_um,
                px=self.recipe.input_px_at(self.current_epoch),
                how=self.recipe.augmentation,
                generator=rng,
            )

    def _normalise(self, views: Tensor) -> Tensor:
        views = normalise(views, self.recipe.mean, self.recipe.std)
        return views.contiguous(memory_format=torch.channels_last)

    def configure_optimizers(self) -> Any:
        """No decay of biases and normalisation; the schedule spans all stages."""
        how = self.recipe
        learnt = [p for p in self.network.parameters() if p.requires_grad]
        decay = [p for p in learnt if p.ndim > 1]
        free = [p for p in learnt if p.ndim <= 1]
        groups = [
            {"params": decay, "weight_decay": how.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        optimiser: torch.optim.Optimizer
        if how.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, how.learning_rate, momentum=0.9, nesterov=True)
        elif how.optimiser == "adam":
            optimiser = torch.optim.Adam(groups, how.learning_rate)
        else:
            optimiser = torch.optim.AdamW(groups, how.learning_rate)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": self._schedule(optimiser), "interval": "step"},
        }

    def _schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        how, steps = self.recipe, self.steps
        if how.schedule == "one_cycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                optimiser, how.learning_rate, total_steps=steps, pct_start=how.warm_up
            )
        rising = how.warm_up * steps

        def factor(step: int) -> float:
            if how.schedule == "constant":
                return 1.0
            if step < rising:
                return (step + 1) / (rising + 1)
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rising) / (steps - rising))))

        return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class WatchedModule(ClassifierModule):
    """The same, looking after every epoch at cells kept from training: for early stopping."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy of plain views of cells kept from training."""
        crops, labels, _ = batch
        labels = labels.to(self.device)
        logits = self.network(self._plain(crops)).float()
        logits = logits.masked_fill(~self.loss.supported, -torch.inf)
        log_loss = nn.functional.cross_entropy(logits, labels)
        hit = (logits.argmax(1) == labels).float().mean()
        for name, value in (("val_loss", log_loss), ("val_accuracy", hit)):
            self.log(name, value, prog_bar=True, batch_size=len(labels), sync_dist=True)

    def _plain(self, crops: Tensor) -> Tensor:
        """The patch in the middle of each crop, as serving cuts and resizes it."""
        images = to_tensor(crops.to(self.device))
        side = round(images.shape[-1] * self.recipe.patch_um / self.recipe.field_um)
        margin = (images.shape[-1] - side) // 2
        centre = images[:, :, margin : margin + side, margin : margin + side]
        return self._normalise(resize(centre, self.recipe.input_px))
