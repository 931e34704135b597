"""A new last layer for a trained network: every class, and every source of a class, alike.

The features a network learns from unequal classes are good for all of them; its last layer is not,
and can be fitted anew in minutes. Kang B et al. "Decoupling representation and classifier for
long-tailed recognition." ICLR 2020.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from models.errors import ModelError
from models.predictor import Classifier
from models.preprocess import normalise, to_tensor
from models.taxonomy import CODES, INDEX
from models.training.classifier.augment import augment
from models.training.classifier.recipe import Augmentation
from models.training.classifier.run import digest_cells
from models.training.data.crops import read_crops
from models.training.data.manifest import LabelledCell

CHUNK: Final = 32
"""Crops at a time."""

ROOM: Final = 36.0 / 29.0
"""Width of a crop over the patch's: room to rotate."""

CROP_PX: Final = 360

ITERATIONS: Final = 500

PLAIN: Final = Augmentation(
    scale=0.0, shift_um=0.0, stain_gain=0.0, stain_mix=0.0, glass=0.0, blur=0.0, noise=0.0, fade=0.0
)
"""Rotation and mirroring alone."""


class HeadError(ModelError):
    """A network has no last layer to refit, or its cells cannot set one."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a network's last layer is given, of one view of each cell.

    Attributes:
        values: shape (M, F), half precision.
        cells: shape (M,): which cell each row is of; unreadable ones have none.
    """

    values: NDArray[np.float16]
    cells: NDArray[np.intp]

    def save(self, path: Path, *, made_of: str) -> None:
        """Write both arrays and a digest of their origin; the file appears whole or not at all."""
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, values=self.values, cells=self.cells, made_of=np.array(made_of))
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, *, made_of: str) -> Self:
        """Read what `save` wrote.

        Raises:
            HeadError: it is of another origin.
        """
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["made_of"]) != made_of:
                raise HeadError(
                    f"{path} is of other weights, cells, views or changes: name a new directory"
                )
            return cls(arrays["values"], arrays["cells"])


def find_head(network: nn.Module) -> nn.Linear:
    """The linear layer that gives the classes.

    Raises:
        HeadError: there is none.
    """
    heads = [part for part in network.modules() if isinstance(part, nn.Linear)]
    if not heads or heads[-1].out_features != len(CODES):
        raise HeadError("the network does not end in a linear layer of 15 outputs")
    return heads[-1]


def collect_features(
    classifier: Classifier,
    cells: Sequence[LabelledCell],
    *,
    how: Augmentation,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Features:
    """One random view of every cell through all of a network but its last layer.

    Args:
        classifier: whose network it is; input size, mean and std are its card's.
        cells: labelled crops; those that cannot be read are left out.
        how: changes; `PLAIN` only turns and mirrors.
        seed: of what is random.
        on_progress: told (done, total) in cells.

    Raises:
        HeadError: no cell can be read, or the network has no such layer.
    """
    card, taken = classifier.card, list[Tensor]()
    rng = torch.Generator(classifier.device).manual_seed(seed)
    handle = find_head(classifier.network).register_forward_pre_hook(
        lambda _, given: taken.append(given[0].half().cpu())
    )
    rows: list[int] = []
    try:
        for start in range(0, len(cells), CHUNK):
            chunk = cells[start : start + CHUNK]
            crops, readable = read_crops(
                chunk, field_um=card.patch_um * ROOM, px=CROP_PX, threads=1
            )
            if readable:
                images = augment(
                    to_tensor(crops).to(classifier.device),
                    field_um=card.patch_um * ROOM,
                    patch_um=card.patch_um,
                    px=card.input_px,
                    how=how,
                    generator=rng,
                )
                images = normalise(images, card.mean, card.std)
                with torch.inference_mode():
                    classifier.network(images.contiguous(memory_format=torch.channels_last))
                rows += [start + index for index in readable]
            if on_progress:
                on_progress(start + len(chunk), len(cells))
    finally:
        handle.remove()
    if not taken:
        raise HeadError(f"none of {len(cells)} cells can be read")
    return Features(torch.cat(taken).numpy(), np.array(rows, np.intp))


def collect_view(
    directory: Path,
    classifier: Classifier,
    cells: Sequence[LabelledCell],
    *,
    view: int,
    every: int,
    how: Augmentation,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Features:
    """`collect_features`, kept in `directory/view-N.npz`.

    The first view is of all cells and `PLAIN`; the others are of each `every`-th cell, in turn.

    Raises:
        HeadError: the file there is of other weights, cells or changes.
    """
    how, path = (how if view else PLAIN), directory / f"view-{view}.npz"
    some = range((view - 1) % every, len(cells), every) if view else range(len(cells))
    chosen = [cells[i] for i in some]
    origin = [classifier.card.sha256, digest_cells(chosen), asdict(how), seed + view]
    made_of = hashlib.sha256(json.dumps(origin).encode()).hexdigest()
    if path.is_file():
        return Features.load(path, made_of=made_of)
    found = collect_features(classifier, chosen, how=how, seed=seed + view, on_progress=on_progress)
    features = Features(found.values, np.array(some, np.intp)[found.cells])
    features.save(path, made_of=made_of)
    return features


def fit_head(
    views: Sequence[Features],
    cells: Sequence[LabelledCell],
    *,
    class_power: float,
    strength: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Multinomial logistic regression on features of mean length 1.

    Args:
        views: of some of the cells, one or more.
        cells: with label and source.
        class_power: a class of n cells weighs n ** class_power; 0 is alike. Its sources weigh
            alike.
        strength: inverse of the ridge penalty, in a sum over cells (scikit-learn's C).

    Returns:
        Weight, shape (15, F), and bias, shape (15,); of classes without a cell, zero.

    Raises:
        HeadError: fewer than two classes have a cell.
    """
    rows = np.concatenate([view.cells for view in views])
    labels = np.array([INDEX[cells[i].label] for i in rows])
    if len(np.unique(labels)) < 2:
        raise HeadError("a last layer needs cells of two classes")
    values = np.concatenate([view.values for view in views]).astype(np.float32)
    length = float(np.linalg.norm(values, axis=1).mean())
    model: Any = LogisticRegression(C=strength, max_iter=ITERATIONS)
    model.fit(values / length, labels, sample_weight=_weigh(rows, cells, class_power))
    weight = np.zeros((len(CODES), values.shape[1]), np.float32)
    bias = np.zeros(len(CODES), np.float32)
    if len(model.classes_) == 2:
        weight[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weight / length, bias


def replace_head(
    network: nn.Module, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Put a fitted last layer into its network."""
    head = find_head(network)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))


def _weigh(
    rows: NDArray[np.intp], cells: Sequence[LabelledCell], class_power: float
) -> NDArray[np.float64]:
    """Of each row; they sum to the number of cells."""
    seen = [cells[i] for i in np.unique(rows)]
    per_class = Counter(cell.label for cell in seen)
    sources = Counter(label for label, _ in {(cell.label, cell.source) for cell in seen})
    drawn = Counter((cells[i].label, cells[i].source) for i in rows)
    weights = np.array(
        [
            per_class[cells[i].label] ** class_power
            / sources[cells[i].label]
            / drawn[cells[i].label, cells[i].source]
            for i in rows
        ]
    )
    scaled: NDArray[np.float64] = weights / weights.sum() * len(seen)
    return scaled
