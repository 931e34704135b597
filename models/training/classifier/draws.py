"""Which cells an epoch trains on, and in what order: the same for the same seed, on any machine."""

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from models.taxonomy import CODES, INDEX
from models.training.classifier.recipe import Recipe
from models.training.data.manifest import LabelledCell


class WeightedDraws:
    """As many draws as there are cells, with replacement.

    A class of n cells is drawn in proportion to n ** power. With `source_balanced` its draws are
    split evenly between the sources it comes from: no class can be told by its laboratory alone
    where two laboratories have it.
    """

    def __init__(
        self, cells: Sequence[LabelledCell], *, power: float, source_balanced: bool
    ) -> None:
        per_class = Counter(cell.label for cell in cells)
        groups = Counter(_group(cell, source_balanced) for cell in cells)
        groups_of_class = Counter(label for label, _ in groups)
        self.weights = torch.tensor(
            [
                per_class[c.label] ** power
                / groups_of_class[c.label]
                / groups[_group(c, source_balanced)]
                for c in cells
            ],
            dtype=torch.float64,
        )
        self.shares = _shares_of_classes(cells, self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def draw(self, rng: torch.Generator) -> Tensor:
        """Indices drawn by weight, shape (len(self),)."""
        return torch.multinomial(self.weights, len(self), replacement=True, generator=rng)


class EqualDraws:
    """Each class equally often; within a class every cell equally often, but for one.

    Attributes:
        shares: share of each class among the draws, shape (15,), in taxonomy order.
    """

    def __init__(self, cells: Sequence[LabelledCell], *, per_class: int) -> None:
        self.per_class = per_class
        members: dict[str, list[int]] = {}
        for index, cell in enumerate(cells):
            members.setdefault(cell.label, []).append(index)
        self.members = [torch.tensor(members[code]) for code in CODES if code in members]
        weights = torch.empty(len(cells), dtype=torch.float64)
        for indices in self.members:
            weights[indices] = 1.0 / len(indices)
        self.shares = _shares_of_classes(cells, weights)

    def __len__(self) -> int:
        return self.per_class * len(self.members)

    def draw(self, rng: torch.Generator) -> Tensor:
        """Shuffled indices, shape (len(self),)."""
        drawn = []
        for indices in self.members:
            rounds = -(-self.per_class // len(indices))
            order = [indices[torch.randperm(len(indices), generator=rng)] for _ in range(rounds)]
            drawn.append(torch.cat(order)[: self.per_class])
        every = torch.cat(drawn)
        return every[torch.randperm(len(every), generator=rng)]


Draws = WeightedDraws | EqualDraws
"""What orders an epoch: `len(draws)` is its length, `draws.draw(generator)` its indices."""


def plan_draws(recipe: Recipe, cells: Sequence[LabelledCell]) -> Draws:
    """The draws a recipe asks for."""
    if recipe.draws_per_class is not None:
        return EqualDraws(cells, per_class=recipe.draws_per_class)
    return WeightedDraws(cells, power=recipe.class_power, source_balanced=recipe.source_balanced)


class EpochBatches(Sampler[list[int]]):
    """Batches of one device: its share of every global batch, from any step of a run on.

    A global batch of `batch_size` draws is dealt to `world` devices in turn, so a run on one device
    and a run on eight see the same cells in the same step. Draws that fill no batch are dropped.

    Args:
        draws: orders an epoch.
        batch_size: of all devices together; a multiple of `world`.
        seed: of the order.
        rank: of this device, from 0.
        world: number of devices.
        start: steps of the run that are done; the first epoch begins after them.
    """

    def __init__(
        self,
        draws: Draws,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        self.draws, self.batch_size, self.seed = draws, batch_size, seed
        self.rank, self.world = rank, world
        self.start = start
        self.epoch = start // len(self) if len(self) else 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return len(self.draws) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        rng = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = self.draws.draw(rng).tolist()
        done = self.start % len(self) if self.epoch == self.start // len(self) else 0
        for step in range(done, len(self)):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield whole[self.rank :: self.world]


def _group(cell: LabelledCell, source_balanced: bool) -> tuple[str, str]:
    return cell.label, cell.source if source_balanced else ""


def _shares_of_classes(cells: Sequence[LabelledCell], weights: Tensor) -> Tensor:
    shares = torch.zeros(len(CODES), dtype=torch.float64)
    shares.index_add_(0, torch.tensor([INDEX[cell.label] for cell in cells]), weights)
    return shares / shares.sum()
