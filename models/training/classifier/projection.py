"""How long a run will take, said after its first steps."""

import json
import resource
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import lightning
from lightning.pytorch.callbacks import Callback

WARM_UP: Final = 2
"""Steps that are not timed: kernels are chosen, pages touched."""

TIMED: Final = 5
"""Steps whose median is taken."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What the first steps promise.

    Attributes:
        step_s: median seconds of a step.
        steps_per_epoch: steps.
        epochs: of the whole run.
        epoch_h: hours of one epoch at the first stage's input size.
        run_h: hours of all epochs, if later stages cost as much a step.
        crops_per_s: of all devices together.
        peak_mb: highest resident memory of the first process so far, 10⁶ bytes.
        devices: that take part.
    """

    step_s: float
    steps_per_epoch: int
    epochs: int
    epoch_h: float
    run_h: float
    crops_per_s: float
    peak_mb: int
    devices: int


class Projecting(Callback):
    """Prints a projection and writes `projection.json` after a few steps of a run.

    Args:
        path: of `projection.json`.
        batch_size: of all devices together.
        epochs: of the run.
    """

    def __init__(self, path: Path, *, batch_size: int, epochs: int) -> None:
        self.path, self.batch_size, self.epochs = path, batch_size, epochs
        self._ends: list[float] = []

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the time, and after enough steps say what it means."""
        if len(self._ends) > WARM_UP + TIMED or not trainer.is_global_zero:
            return
        self._ends.append(time.monotonic())
        if len(self._ends) == WARM_UP + TIMED + 1:
            ends = self._ends[WARM_UP:]
            step_s = median(after - before for before, after in pairwise(ends))
            found = self._project(step_s, int(trainer.num_training_batches), trainer.world_size)
            self.path.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
            click.echo(describe_projection(found), err=True)

    def _project(self, step_s: float, steps: int, devices: int) -> Projection:
        epoch_h = step_s * steps / 3600
        return Projection(
            step_s=round(step_s, 4),
            steps_per_epoch=steps,
            epochs=self.epochs,
            epoch_h=round(epoch_h, 6),
            run_h=round(epoch_h * self.epochs, 6),
            crops_per_s=round(self.batch_size / max(step_s, 1e-9), 2),
            peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
            devices=devices,
        )


def describe_projection(found: Projection) -> str:
    """A projection in a sentence."""
    return (
        f"{found.crops_per_s:g} crops/s on {found.devices} device(s): {found.step_s:.3g} s a step,"
        f" {found.steps_per_epoch} steps an epoch, {found.epoch_h:.3g} h an epoch,"
        f" {found.run_h:.3g} h for {found.epochs} epochs at this input size;"
        f" peak memory {found.peak_mb} MB"
    )
