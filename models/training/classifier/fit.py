"""Train a classifier: Lightning does loops, precision, devices and loggers."""

import json
import logging
import warnings
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from models.errors import ModelError
from models.taxonomy import CODES
from models.training.classifier.averaging import WarmAverage
from models.training.classifier.batches import BatchLoader, CropBatches, load_in_order
from models.training.classifier.beliefs import read_beliefs
from models.training.classifier.checkpointing import EVERY_S, Checkpointing
from models.training.classifier.draws import EpochBatches, plan_draws
from models.training.classifier.loss import ClassLoss
from models.training.classifier.module import ClassifierModule, WatchedModule
from models.training.classifier.projection import Projecting
from models.training.classifier.recipe import Recipe
from models.training.classifier.run import CHECKPOINT, FINISHED, PROJECTION, begin_run
from models.training.data.crop_store import CropStore, choose_px
from models.training.data.hold_out import hold_out
from models.training.data.manifest import LabelledCell

LOG_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Machines:
    """What a run computes on.

    Attributes:
        devices: of each machine; None takes every GPU, or the CPU.
        nodes: machines; each starts the same command under torchrun.
        workers: processes a device that fetch batches; None is none on a CPU and 4 beside a GPU.
        accelerator: Lightning's name: "auto", "cpu", "gpu".
    """

    devices: int | None = None
    nodes: int = 1
    workers: int | None = None
    accelerator: str = "auto"

    @property
    def fetching(self) -> int:
        """Processes a device that fetch batches."""
        if self.workers is not None:
            return self.workers
        return 4 if torch.cuda.is_available() and self.accelerator != "cpu" else 0


@dataclass(frozen=True, slots=True)
class Saving:
    """How often a run is saved, and where its crops lie.

    Attributes:
        crops: folder of decoded crops, shared by runs; None puts it into the run.
        every_s: at most this much work is lost by a kill.
        every_steps: also after each so many steps.
    """

    crops: Path | None = None
    every_s: float = EVERY_S
    every_steps: int | None = None


def fit(
    recipe: Recipe,
    cells: Sequence[LabelledCell],
    *,
    out: Path,
    held_out: Container[LabelledCell] = (),
    machines: Machines | None = None,
    saving: Saving | None = None,
    try_steps: int | None = None,
    quiet: bool = True,
) -> None:
    """Train on labelled cells; goes on where a run in `out` was stopped, to the same weights.

    Args:
        recipe: what to do.
        cells: whose crops are decoded.
        held_out: those of them that are not trained on: runs that hold out different cells can
            share one store of crops.
        out: directory of the run (`models.training.classifier.run`).
        machines: what to compute on.
        saving: how often to save, and where crops lie.
        try_steps: stop after so many steps and keep no checkpoint: only the projection is wanted.
        quiet: no progress bar.

    Raises:
        RunError: `out` holds a run of another recipe or other cells.
        ModelError: no crop can be read, the disk is full, or the batch does not fit the devices.
    """
    machines, saving = machines or Machines(), saving or Saving()
    _quieten_lightning()
    lightning.seed_everything(recipe.seed, verbose=False)
    store = CropStore.open(
        saving.crops or out,
        cells,
        field_um=recipe.field_um,
        px=choose_px(
            cells,
            field_um=recipe.field_um,
            view_px_per_um=max(px for _, px in recipe.stages) / recipe.patch_um,
        ),
    )
    rows = [row for row, cell in enumerate(store.cells) if cell not in held_out]
    learnt, watched = _split(recipe, store, rows)
    callbacks: list[Callback] = []
    if recipe.ema_decay > 0:
        callbacks.append(WarmAverage(recipe.ema_decay))
    if recipe.early_stopping:
        callbacks.append(EarlyStopping("val_loss", patience=recipe.early_stopping.patience))
    callbacks.append(
        Projecting(out / PROJECTION, batch_size=recipe.batch_size, epochs=recipe.epochs)
    )
    last = out / CHECKPOINT
    start = _steps_done(last)
    if try_steps is None:
        callbacks.append(
            Checkpointing(last, every_s=saving.every_s, every_steps=saving.every_steps)
        )
    trainer = lightning.Trainer(
        accelerator=machines.accelerator,
        devices="auto" if machines.devices is None else machines.devices,
        num_nodes=machines.nodes,
        max_epochs=recipe.epochs,
        max_steps=-1 if try_steps is None else start + try_steps,
        min_epochs=recipe.early_stopping.min_epochs if recipe.early_stopping else None,
        precision=recipe.precision,
        benchmark=torch.cuda.is_available(),
        sync_batchnorm=torch.cuda.is_available(),
        logger=_loggers(out, start),
        callbacks=callbacks,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=not quiet,
        log_every_n_steps=LOG_STEPS,
    )
    if trainer.is_global_zero:
        unreadable = [cell for cell in store.unreadable if cell not in held_out]
        begin_run(out, recipe, [store.cells[row] for row in rows], unreadable)
    cells_learnt = [store.cells[row] for row in learnt]
    batches = _plan_batches(recipe, cells_learnt, trainer, start)
    beliefs = read_beliefs(recipe.teaching, cells_learnt) if recipe.teaching else None
    counts = Counter(cell.label for cell in cells_learnt)
    module_type = WatchedModule if watched else ClassifierModule
    module = module_type(
        recipe,
        loss=ClassLoss(
            recipe.loss,
            counts=[counts[code] for code in CODES],
            shares=batches.draws.shares,
            believing=recipe.teaching.share if recipe.teaching else 0.0,
        ),
        steps_per_epoch=len(batches),
    )
    trainer.fit(
        module,
        BatchLoader(CropBatches(store, learnt, beliefs), batches, workers=machines.fetching),
        load_in_order(CropBatches(store, watched), recipe.batch_size) if watched else None,
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    if try_steps is None and trainer.is_global_zero:
        _finish(out, trainer, recipe)
    trainer.strategy.barrier()


def _split(recipe: Recipe, store: CropStore, rows: list[int]) -> tuple[list[int], list[int]]:
    """Rows to learn from, and rows that tell when to stop."""
    if recipe.early_stopping is None:
        return rows, []
    cells = [store.cells[row] for row in rows]
    kept = hold_out(cells, share=recipe.early_stopping.share, seed=recipe.seed)
    return (
        [row for index, row in enumerate(rows) if index not in kept],
        [row for index, row in enumerate(rows) if index in kept],
    )


def _plan_batches(
    recipe: Recipe, cells: Sequence[LabelledCell], trainer: lightning.Trainer, start: int
) -> EpochBatches:
    if recipe.batch_size % trainer.world_size:
        raise ModelError(
            f"batch_size {recipe.batch_size} cannot be dealt to {trainer.world_size} devices:"
            " take a number of devices that divides it"
        )
    batches = EpochBatches(
        plan_draws(recipe, cells),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        rank=trainer.global_rank,
        world=trainer.world_size,
        start=start,
    )
    if not len(batches):
        raise ModelError(
            f"an epoch draws {len(batches.draws)} crops and a batch takes {recipe.batch_size}:"
            " label more cells or lower batch_size in the recipe"
        )
    return batches


def _quieten_lightning() -> None:
    """Keep advertisements and known chatter from hiding what matters."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for chatter in (r".*LeafSpec.*deprecated", r".*does not have many workers", r".*srun.*command"):
        warnings.filterwarnings("ignore", chatter)


def _loggers(out: Path, start: int) -> list[Logger]:
    """CSV and TensorBoard; a resumed run begins a new CSV file, for Lightning would empty it."""
    return [
        CSVLogger(out / "logs", name="csv", version=f"from-step-{start:07d}"),
        TensorBoardLogger(out / "logs", name="tensorboard", version=""),
    ]


def _steps_done(checkpoint: Path) -> int:
    if not checkpoint.is_file():
        return 0
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return int(saved["global_step"])


def _finish(out: Path, trainer: lightning.Trainer, recipe: Recipe) -> None:
    if not trainer.state.finished:
        raise ModelError("the run was interrupted: the same command resumes it")
    over = {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "stopped_early": trainer.current_epoch < recipe.epochs,
    }
    (out / FINISHED).write_text(json.dumps(over, indent=2) + "\n", encoding="utf-8")
