"""Train a classifier: Lightning does loops, precision, checkpoints and resuming."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from models.nets.registry import build_network
from models.preprocess import normalise, to_tensor
from models.taxonomy import CODES, INDEX, CellClass
from models.training.classifier.augment import augment
from models.training.classifier.recipe import Recipe
from models.training.data.crops import read_crops
from models.training.data.manifest import LabelledCell, Manifest

PATCH_UM: Final = 29.0
"""Width of the classifier's view (Matek et al. 2019: 400 px of 0.0725 µm)."""

FIELD_UM: Final = 36.0
"""Width kept of every training crop: room to rotate; CellaVision crops are 36 µm wide."""

MEAN: Final = (0.85, 0.72, 0.71)
STD: Final = (0.18, 0.22, 0.12)
"""RGB statistics of DeepAPL and PBC training crops, 0–1, rounded; saved in the card."""

Batch = tuple[NDArray[np.uint8], Tensor]


class CropSet(Dataset[tuple[NDArray[np.uint8], int]]):
    """Training crops, decoded once and kept in memory as uint8."""

    def __init__(self, cells: Sequence[LabelledCell], *, px: int) -> None:
        self.crops, readable = read_crops(cells, field_um=FIELD_UM, px=px)
        self.cells = [cells[i] for i in readable]
        kept = set(readable)
        self.unreadable = [cell.path.name for i, cell in enumerate(cells) if i not in kept]

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.crops[index], INDEX[self.cells[index].label]


class BalancedSampler(Sampler[int]):
    """Draws cells with replacement, the same for the same seed and epoch.

    A class of n cells is drawn in proportion to n ** power, and its draws are split evenly
    between the sources it comes from: no class can be told by its laboratory alone where two
    laboratories have it.
    """

    def __init__(self, cells: Sequence[LabelledCell], *, power: float, seed: int) -> None:
        per_class = Counter(cell.label for cell in cells)
        per_source = Counter((cell.label, cell.source) for cell in cells)
        sources = Counter(label for label, _ in per_source)
        self.weights = torch.tensor(
            [
                per_class[c.label] ** power / sources[c.label] / per_source[c.label, c.source]
                for c in cells
            ],
            dtype=torch.float64,
        )
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self) -> Iterator[int]:
        rng = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        drawn = torch.multinomial(self.weights, len(self), replacement=True, generator=rng)
        yield from drawn.tolist()


class ClassifierModule(lightning.LightningModule):
    """The training step of a classifier.

    Classes without a single training cell are masked out of the softmax, here as in serving.
    """

    def __init__(self, recipe: Recipe, *, supported: Tensor, steps_per_epoch: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps = steps_per_epoch * recipe.epochs
        network = build_network(recipe.network, len(CODES))
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.supported: Tensor
        self.register_buffer("supported", supported, persistent=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one augmented batch."""
        crops, labels = batch
        rng = torch.Generator().manual_seed(
            (self.recipe.seed * 100_003 + self.current_epoch) * 100_003 + batch_idx
        )
        with torch.autocast(self.device.type, enabled=False):
            views = augment(
                to_tensor(crops),
                field_um=FIELD_UM,
                patch_um=PATCH_UM,
                px=self.recipe.input_px_at(self.current_epoch),
                how=self.recipe.augmentation,
                generator=rng,
            )
        views = normalise(views, MEAN, STD).to(
            self.device, memory_format=torch.channels_last, non_blocking=True
        )
        logits = self.network(views).float()
        loss = _smoothed_cross_entropy(
            logits, labels.to(self.device), self.supported, self.recipe.label_smoothing
        )
        self.log("loss", loss, prog_bar=True, on_epoch=True, on_step=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW under one cycle over all stages; no decay of biases and normalisation."""
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim <= 1]
        optimiser = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": self.recipe.weight_decay},
                {"params": free, "weight_decay": 0.0},
            ],
            lr=self.recipe.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.recipe.learning_rate, total_steps=self.steps, pct_start=0.15
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def fit(recipe: Recipe, manifest: Manifest, *, out: Path) -> None:
    """Train on every cell of a manifest; resumes from `out` if a run was stopped there.

    Args:
        recipe: what to do.
        manifest: the training cells only.
        out: directory of the run: `last.ckpt`, `recipe.json`, `data.json`, `metrics.csv`.
    """
    lightning.seed_everything(recipe.seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    stored_px = round(recipe.input_px * FIELD_UM / PATCH_UM * 1.25)
    crops = CropSet(manifest.cells, px=stored_px)
    describe_run(recipe, crops, out=out)
    sampler = BalancedSampler(crops.cells, power=recipe.class_power, seed=recipe.seed)
    loader = DataLoader(
        crops,
        batch_size=recipe.batch_size,
        sampler=sampler,
        drop_last=True,
        collate_fn=_collate,
    )
    present = {cell.label for cell in crops.cells}
    module = ClassifierModule(
        recipe,
        supported=torch.tensor([code in present for code in CODES]),
        steps_per_epoch=len(loader),
    )
    last = out / "last.ckpt"
    trainer = lightning.Trainer(
        accelerator="auto",
        max_epochs=recipe.epochs,
        precision=recipe.precision,  # type: ignore[arg-type]
        logger=CSVLogger(out, name=None, version=""),
        callbacks=[
            ModelCheckpoint(dirpath=out, filename="last", enable_version_counter=False),
            EMAWeightAveraging(decay=recipe.ema_decay),
        ],
        use_distributed_sampler=False,
        enable_model_summary=False,
        log_every_n_steps=20,
    )
    trainer.fit(module, loader, ckpt_path=last if last.exists() else None)


def describe_run(recipe: Recipe, crops: CropSet, *, out: Path) -> None:
    """Write what the run is made of: `recipe.json` and `data.json`."""
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n")
    counts: dict[str, Counter[CellClass]] = {}
    for cell in crops.cells:
        counts.setdefault(cell.source, Counter())[cell.label] += 1
    data = {"counts": counts, "unreadable": crops.unreadable}
    (out / "data.json").write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")


def _collate(items: list[tuple[NDArray[np.uint8], int]]) -> Batch:
    crops, labels = zip(*items, strict=True)
    return np.stack(crops), torch.tensor(labels)


def _smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, supported: Tensor, smoothing: float
) -> Tensor:
    """Cross-entropy over supported classes; the smoothing mass is spread over those alone."""
    log_p = F.log_softmax(logits.masked_fill(~supported, -torch.inf), dim=1)
    hit = log_p.gather(1, labels[:, None]).squeeze(1)
    spread = log_p[:, supported].mean(dim=1)
    return -((1.0 - smoothing) * hit + smoothing * spread).mean()
