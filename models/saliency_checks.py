"""Is a saliency map worth looking at? Where its mass lies, and whether it needs the weights.

Adebayo J et al. "Sanity checks for saliency maps." NeurIPS 2018: a map that stays the same when
the weights are replaced by random ones shows the image's edges, not what the network learnt.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.errors import SaliencyError
from models.nets.registry import build_network
from models.predictor import Classifier
from models.saliency import saliency_maps
from models.taxonomy import CODES, CellClass


@dataclass(frozen=True, slots=True, eq=False)
class RandomisationCheck:
    """How maps change as weights are randomised from the head down.

    Attributes:
        parts: the network's parts in the order they were randomised, K of them; each stage keeps
            the parts before it random.
        correlation: Spearman's rank correlation of each patch's map with the trained network's,
            shape (K, N). NaN where a map is constant.
    """

    parts: tuple[str, ...]
    correlation: NDArray[np.float64]


def randomisation_check(
    classifier: Classifier,
    patches: NDArray[np.uint8],
    targets: Sequence[CellClass] | None = None,
    *,
    cascade: bool = True,
    samples: int = 0,
    seed: int = 0,
) -> RandomisationCheck:
    """Correlate maps of the trained network with those of copies with random weights.

    Random weights and normalisation statistics are those of a fresh network of the card's kind.
    The target stays the class the trained network names.

    Args:
        classifier: left as it is.
        patches: RGB, shape (N, 400, 400, 3), 0–255.
        targets: as for `saliency_maps`.
        cascade: randomise part by part from the head to the stem; else all at once.
        samples: as for `saliency_maps`.
        seed: of the random weights.

    Raises:
        PatchShapeError: patches do not match the card.
        SaliencyError: a target is unsupported.
    """
    if targets is None:
        targets = [CODES[column] for column in classifier.predict(patches).argmax(axis=1)]
    trained = saliency_maps(classifier, patches, targets, samples=samples)
    network = copy.deepcopy(classifier.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_network(classifier.card.network, len(CODES))
    names = [name for name, part in network.named_children() if len(part.state_dict())][::-1]
    stages = [[name] for name in names] if cascade else [names]
    rows = []
    for stage in stages:
        for name in stage:
            network.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        randomised = Classifier(
            network, classifier.card, device=classifier.device, batch_size=classifier.batch_size
        )
        maps = saliency_maps(randomised, patches, targets, samples=samples)
        rows.append([rank_correlation(a, b) for a, b in zip(trained, maps, strict=True)])
    return RandomisationCheck(
        tuple(" + ".join(stage) for stage in stages),
        np.array(rows, np.float64).reshape(len(stages), len(patches)),
    )


def rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps of one shape; NaN if either is constant."""
    ranks = np.stack([rankdata(one, axis=None), rankdata(other, axis=None)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float(ranks.prod(axis=0).sum() / scale) if scale else float("nan")


def in_cell_mass(
    maps: NDArray[np.float32],
    *,
    diameter_um: float | NDArray[np.floating],
    patch_um: float,
) -> NDArray[np.float64]:
    """Share of each map that lies in the disc of the cell at the patch's centre.

    To be read beside `disc_share`, which is what a map without any preference would give.

    Args:
        maps: shape (N, H, H), at least 0.
        diameter_um: of the cells, µm; one for all, or shape (N,).
        patch_um: width of a map, µm.

    Returns:
        Shape (N,), 0–1; NaN for a map that is 0 everywhere.

    Raises:
        SaliencyError: a diameter or the width is not positive, or there is not one per map.
    """
    count, side = len(maps), maps.shape[-1]
    diameters = np.atleast_1d(np.asarray(diameter_um, np.float64))
    if np.ndim(diameter_um) and len(diameters) != count:
        raise SaliencyError(f"{len(diameters)} diameters for {count} maps")
    inside = _discs(diameters, patch_um, side)
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    within = np.where(inside, maps, 0.0).sum(axis=(1, 2), dtype=np.float64)
    shares: NDArray[np.float64] = np.divide(
        within, total, out=np.full(count, np.nan), where=total > 0
    )
    return shares


def disc_share(*, diameter_um: float, patch_um: float, px: int = 400) -> float:
    """Share of a patch's pixels whose centre lies in the cell's disc.

    Raises:
        SaliencyError: a length is not positive.
    """
    return float(_discs(np.array([diameter_um]), patch_um, px).mean())


def _discs(diameter_um: NDArray[np.floating], patch_um: float, px: int) -> NDArray[np.bool_]:
    if not (patch_um > 0 and (diameter_um > 0).all()):
        raise SaliencyError(
            f"diameters {diameter_um.tolist()} µm and the patch's width {patch_um:g} µm must be"
            " above 0"
        )
    axis = (np.arange(px) + 0.5) / px * patch_um - patch_um / 2
    distance = np.hypot(axis[:, None], axis[None, :])
    inside: NDArray[np.bool_] = distance <= diameter_um[:, None, None] / 2
    return inside
