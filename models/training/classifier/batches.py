"""Crops of a run as batches for the trainer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from models.taxonomy import INDEX
from models.training.classifier.module import Batch
from models.training.data.crop_store import CropStore


class CropBatches(Dataset[Any]):
    """Some cells of a store, fetched a batch at a time.

    Args:
        store: decoded crops.
        rows: of the store that take part.
        beliefs: of these rows, shape (len(rows), 15); None has none.
    """

    def __init__(
        self, store: CropStore, rows: Sequence[int], beliefs: Tensor | None = None
    ) -> None:
        self.store = store
        self.rows = np.asarray(rows, np.int64)
        self.labels = torch.tensor([INDEX[store.cells[row].label] for row in rows])
        self.beliefs = torch.empty(len(rows), 0) if beliefs is None else beliefs

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: list[int]) -> Batch:
        """Crops, labels and beliefs of a batch.

        Tensors: worker processes hand those over in shared memory, but arrays through a pipe.
        """
        crops = torch.from_numpy(self.store.read(self.rows[indices]))
        chosen = torch.tensor(indices)
        return crops, self.labels[chosen], self.beliefs[chosen]


class BatchLoader(DataLoader[Any]):
    """Loads batches, `workers` processes ahead.

    A run that goes on in the middle of an epoch begins at the right batch because its sampler does
    (`EpochBatches.start`), so the loader has no state of its own; saying so here tells Lightning.
    """

    def __init__(
        self, crops: CropBatches, batches: Sampler[list[int]], *, workers: int = 0
    ) -> None:
        super().__init__(
            crops,
            sampler=batches,
            batch_size=None,  # an index is a batch already
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def load_in_order(crops: CropBatches, batch_size: int) -> BatchLoader:
    """Every cell once, for validation."""
    in_order = BatchSampler(SequentialSampler(crops), batch_size, drop_last=False)
    return BatchLoader(crops, in_order)


def _as_it_is(batch: Any) -> Any:
    return batch
