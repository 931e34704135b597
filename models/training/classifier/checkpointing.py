"""Keep a run resumable: its state on disk, whole, at every epoch's end and every few minutes."""

import time
from pathlib import Path
from typing import Any, Final

import lightning
from lightning.pytorch.callbacks import Callback

EVERY_S: Final = 300.0


class Checkpointing(Callback):
    """Writes one checkpoint, replaced in a single step of the file system.

    kill -9 at any moment leaves the last whole checkpoint. Must be the last of the callbacks, so
    that the state of all others is of the same step.

    Args:
        path: of the checkpoint.
        every_s: at most this much work is lost.
        every_steps: also after each so many steps; None does not.
    """

    def __init__(
        self, path: Path, *, every_s: float = EVERY_S, every_steps: int | None = None
    ) -> None:
        self.path, self.every_s, self.every_steps = path, every_s, every_steps
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time; the last step of an epoch is left to the epoch's end."""
        if trainer.is_last_batch:
            return
        late = time.monotonic() - self._saved_at >= self.every_s
        # Devices' clocks differ, and all must save in the same step.
        due = trainer.strategy.reduce_boolean_decision(late, all=False)
        if due or (self.every_steps and trainer.global_step % self.every_steps == 0):
            self._save(trainer)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save."""
        self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)
        trainer.strategy.barrier()
        self._saved_at = time.monotonic()
