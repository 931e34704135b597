"""Fit a network of the detector: a plain loop, a checkpoint every epoch, an exact resume."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.verifier import render


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How a network is fitted.

    Attributes:
        epochs: passes; the learning rate falls to zero over them along a cosine.
        steps: optimiser steps an epoch.
        batch: canvases a step.
        learning_rate: at its highest, after a warm-up of one twentieth of all steps.
        weight_decay: of AdamW.
        workers: processes that compose canvases.
        seed: of the network's start and of the samples.
    """

    epochs: int = 12
    steps: int = 128
    batch: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    workers: int = 1
    seed: int = 20


DIAMETER_WEIGHT: Final = 0.3
"""Of the diameter's loss beside the heat's."""

LABEL_SMOOTHING: Final = 0.02
"""Boxes and crops are now and then labelled wrong: no verdict is learned to be certain."""

Loss = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
"""Of a network on one batch."""


def heatmap_loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Of a `HeatmapNet` on canvases and what `draw_target` says of them."""
    density, target = batch
    out = network(density.to(memory_format=torch.channels_last))
    return detector_loss(out, target, DIAMETER_WEIGHT)


def verifier_loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Of a `VerifierNet` on what `join_samples` gives: weighted cross-entropy."""
    crops, leukocyte, weight = batch
    wanted = leukocyte * (1.0 - LABEL_SMOOTHING) + LABEL_SMOOTHING / 2
    loss = F.binary_cross_entropy_with_logits(network(render(crops)), wanted, reduction="none")
    return (weight * loss).sum()


def heat_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Penalty-reduced focal loss of CenterNet (arXiv:1904.07850, eq. 1), per leukocyte.

    Args:
        logits, heat, weight: shape (N, H, W); heat is exactly 1 at centres.
    """
    at_centre = (heat == 1.0).float() * weight
    heat_now = logits.sigmoid()
    near = at_centre * (1 - heat_now).square() * F.logsigmoid(logits)
    far = weight * (1 - heat).pow(4) * heat_now.square() * F.logsigmoid(-logits)
    return -(near + far).sum() / at_centre.sum().clamp_min(1.0)


def detector_loss(out: Tensor, target: Tensor, diameter_weight: float) -> Tensor:
    """Heat loss plus the mean absolute error of ln(diameter) where it is known.

    Args:
        out: shape (N, 2, H, W), as `HeatmapNet` returns it.
        target: shape (N, 4, H, W), as `draw_target` gives it.
        diameter_weight: of the second term.
    """
    heat, weight, diameter, known = target.unbind(1)
    size = (known * (out[:, 1] - diameter).abs()).sum() / known.sum().clamp_min(1.0)
    return heat_loss(out[:, 0], heat, weight) + diameter_weight * size


def fit_network(
    network: nn.Module,
    samples: Dataset[Any],
    loss_of: Loss,
    plan: FitPlan,
    checkpoint: Path,
    *,
    collate: Callable[[Any], tuple[Tensor, ...]] | None = None,
    resume: bool = False,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train a network in place; writes `checkpoint` after every epoch.

    Args:
        network: is changed.
        samples: taken in order of their index.
        loss_of: what is made small.
        plan: how.
        checkpoint: network, optimiser, schedule and epoch; replaced as a whole, so that a kill
            leaves the last one intact.
        collate: joins samples to a batch, if not by stacking.
        resume: start from `checkpoint` if it exists. The result is that of an unbroken run.
        on_epoch: told the epoch's number (from 1) and its mean loss.

    Raises:
        ValueError: the checkpoint is of another plan.
    """
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        plan.learning_rate,
        total_steps=plan.epochs * plan.steps,
        pct_start=0.05,
        cycle_momentum=False,
    )
    start = 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["plan"] != asdict(plan):
            raise ValueError(
                f"{checkpoint.name} is of another plan ({state['plan']}); "
                "resume with the same options or start anew in another directory"
            )
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        start = state["epoch"]
    network.to(memory_format=torch.channels_last)
    first, last = (epoch * plan.steps * plan.batch for epoch in (start, plan.epochs))
    batches = iter(
        DataLoader(
            samples,
            plan.batch,
            sampler=range(first, last),
            num_workers=plan.workers,
            collate_fn=collate,
        )
    )
    network.train()
    for epoch in range(start, plan.epochs):
        total = 0.0
        for batch in islice(batches, plan.steps):
            loss = loss_of(network, batch)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        _replace(
            checkpoint,
            {
                "plan": asdict(plan),
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "epoch": epoch + 1,
            },
        )
        if on_epoch is not None:
            on_epoch(epoch + 1, total / plan.steps)


def _replace(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
