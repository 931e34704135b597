"""A classifier ready to serve: patches in, class probabilities out."""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.card import ClassifierCard, check_patches, load_card
from models.catalogue import (
    DEFAULT_CLASSIFIER,
    DEFAULT_WEIGHTS,
    WEIGHTS_FILE,
    WEIGHTS_ROOT,
    locate_weights,
)
from models.checkpoint import load_weights
from models.nets.fusing import fuse_layers
from models.nets.registry import build_network
from models.preprocess import normalise, resize, to_tensor
from models.taxonomy import CODES


class Classifier:
    """A network with its card, in evaluation mode on one device.

    Args:
        network: (N, 3, input_px, input_px) → (N, 15) logits.
        card: how to feed it and what its outputs mean.
        device: of the network; CPU by default.
        batch_size: patches per forward pass; bounds memory. By default 64, on a CPU 8: there 16
            took 250 MB more and were not faster.
    """

    def __init__(
        self,
        network: nn.Module,
        card: ClassifierCard,
        *,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        self.card = card
        self.device = torch.device(device)
        self.batch_size = batch_size or (8 if self.device.type == "cpu" else 64)
        self._network: nn.Module = network.eval().to(
            self.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self._masked = torch.tensor(
            [code in card.unsupported_classes for code in CODES], device=self.device
        )

    @classmethod
    def load(
        cls,
        name: str = DEFAULT_WEIGHTS,
        *,
        root: Path = WEIGHTS_ROOT,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Build the network a card names and fill it with its weights.

        Args:
            name: of the weights, a directory that holds them, or `DEFAULT_WEIGHTS`.
            root: where weights are looked for by name.
            device: to compute on.

        Raises:
            WeightsUnavailable: no weights of that name, or their file or network is missing.
            WeightsCorrupt: card or weights are damaged or do not belong together.
        """
        directory = locate_weights(
            DEFAULT_CLASSIFIER if name == DEFAULT_WEIGHTS else name, root=root
        )
        card = load_card(directory)
        network = build_network(card.network, len(card.classes))
        load_weights(network, directory / WEIGHTS_FILE, card.sha256)
        return cls(network, card, device=device)

    def fuse(self) -> Self:
        """This classifier, a third faster on a CPU: see `models.nets.fusing`.

        Probabilities move by rounding only (golden outputs, `TOLERANCE`). Its network's state
        dict is no longer that of its weights file: for serving, not for saving or training.
        """
        fuse_layers(self._network)
        return self

    @property
    def network(self) -> nn.Module:
        """The network itself, in evaluation mode."""
        return self._network

    def predict(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of leukocyte patches.

        Args:
            patches: RGB, shape (N, patch_px, patch_px, 3), 0–255, each card.patch_um micrometres
                wide, the cell at its centre. N may be 0.

        Returns:
            Shape (N, 15), rows sum to 1, columns in taxonomy order, 0 for unsupported classes.

        Raises:
            PatchShapeError: patches do not match the card.
        """
        check_patches(patches, self.card)
        out = np.empty((len(patches), len(CODES)), np.float32)
        for start in range(0, len(patches), self.batch_size):
            batch = slice(start, start + self.batch_size)
            out[batch] = self._forward(patches[batch])
        return out

    def logits(self, images: Tensor) -> Tensor:
        """What the softmax is taken of; gradients flow back to the pixels.

        Args:
            images: RGB on `device`, shape (N, 3, patch_px, patch_px), 0–1.

        Returns:
            Shape (N, 15), divided by the card's temperature, −inf for unsupported classes.
        """
        images = normalise(resize(images, self.card.input_px), self.card.mean, self.card.std)
        logits: Tensor = self._network(images.contiguous(memory_format=torch.channels_last))
        return (logits.float() / self.card.temperature).masked_fill(self._masked, -torch.inf)

    @torch.inference_mode()
    def _forward(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = self.logits(to_tensor(patches).to(self.device))
        probabilities: NDArray[np.float32] = logits.softmax(dim=1).cpu().numpy()
        return probabilities
