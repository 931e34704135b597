"""What a classifier looked at: the gradient of its loss with respect to the pixels.

Simonyan K, Vedaldi A, Zisserman A. "Deep inside convolutional networks." ICLR workshop 2014, as in
Matek et al. 2019, Fig. 3B. Smilkov D et al. "SmoothGrad: removing noise by adding noise." 2017.
A map says which pixels the loss is sensitive to, not which caused the prediction; whether it
depends on what the network learnt at all is for `models.saliency_checks` to say.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.card import check_patches
from models.errors import SaliencyError
from models.predictor import Classifier
from models.preprocess import to_tensor
from models.taxonomy import CODES, INDEX, CellClass

GRADIENT_PIXELS: Final = 100_000
"""Input pixels per backward pass; a ResNeXt-50 keeps about 2 kB of activations for each."""


def saliency_maps(
    classifier: Classifier,
    patches: NDArray[np.uint8],
    targets: Sequence[CellClass] | None = None,
    *,
    samples: int = 0,
    noise: float = 0.15,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Absolute gradient of the cross-entropy with respect to the pixels, largest over channels.

    The gradient is the sum over classes k of (p_k − [k is the target]) ∂z_k/∂x, z the logits. It
    is proportional to 1 − p_target, so a cell named with certainty has a faint map; 1 − p_target is
    summed from the other classes' probabilities in double precision and does not round to zero.
    Maps are left at the scale the definition gives them: `normalise_saliency` is for the eye.

    Args:
        classifier: whose loss; its weights collect no gradients.
        patches: RGB, shape (N, 400, 400, 3), 0–255, as for `Classifier.predict`. N may be 0.
        targets: class of each patch; None takes the class the network names.
        samples: 0 is the plain gradient; above, SmoothGrad: the mean gradient over so many noisy
            copies, before the absolute value is taken.
        noise: standard deviation of Gaussian noise, as a share of each patch's range of values.
            It is drawn on the grid the network sees, for a finer grain would be averaged away.
        seed: of the noise; a patch's noise does not depend on the patches beside it.

    Returns:
        Shape (N, 400, 400), at least 0: change of the loss per change of a channel from 0 to 1.

    Raises:
        PatchShapeError: patches do not match the card.
        SaliencyError: a target is unsupported, or targets, samples or noise are out of range.
    """
    check_patches(patches, classifier.card)
    if samples < 0 or not 0.0 <= noise <= 1.0:
        raise SaliencyError(f"samples {samples} must be at least 0, noise {noise:g} from 0 to 1")
    columns = _target_columns(classifier, patches, targets)
    maps = np.empty(patches.shape[:3], np.float32)
    step = max(1, min(classifier.batch_size, GRADIENT_PIXELS // classifier.card.input_px**2))
    if samples:
        for index in range(len(patches)):
            image = to_tensor(patches[index : index + 1]).to(classifier.device)
            gradient = _smooth(classifier, image, columns[index], samples, noise, seed, step)
            maps[index] = gradient.abs().amax(dim=0).cpu().numpy()
        return maps
    for start in range(0, len(patches), step):
        part = slice(start, start + step)
        images = to_tensor(patches[part]).to(classifier.device)
        maps[part] = _gradient(classifier, images, columns[part]).abs().amax(dim=1).cpu().numpy()
    return maps


def _target_columns(
    classifier: Classifier, patches: NDArray[np.uint8], targets: Sequence[CellClass] | None
) -> Tensor:
    """Column of each patch's target class, shape (N,)."""
    if targets is None:
        return torch.from_numpy(classifier.predict(patches).argmax(axis=1))
    if len(targets) != len(patches):
        raise SaliencyError(f"{len(targets)} targets for {len(patches)} patches")
    card = classifier.card
    if blind := sorted(set(targets) & set(card.unsupported_classes)):
        known = ", ".join(code for code in CODES if code not in card.unsupported_classes)
        raise SaliencyError(
            f"weights {card.name!r} cannot name {', '.join(blind)}, so there is no loss to"
            f" differentiate; classes they can name: {known}"
        )
    return torch.tensor([INDEX[target] for target in targets], dtype=torch.long)


def _gradient(classifier: Classifier, images: Tensor, columns: Tensor) -> Tensor:
    """Gradient of each image's cross-entropy with respect to it, shape of `images`."""
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.clone().requires_grad_(True)
        logits = classifier.logits(pixels)
        slope = logits.detach().double().softmax(dim=1)
        rows = torch.arange(len(slope), device=slope.device)
        columns = columns.to(slope.device)
        slope[rows, columns] = 0.0
        slope[rows, columns] = -slope.sum(dim=1)
        (gradient,) = torch.autograd.grad(logits, pixels, slope.to(logits.dtype))
    return gradient


def _smooth(
    classifier: Classifier,
    image: Tensor,
    column: Tensor,
    samples: int,
    noise: float,
    seed: int,
    step: int,
) -> Tensor:
    """Mean gradient over noisy copies of one image (1, 3, H, W), shape (3, H, W)."""
    rng = torch.Generator().manual_seed(seed)
    spread = noise * float(image.max() - image.min())
    side, input_px = image.shape[-1], classifier.card.input_px
    total = torch.zeros_like(image[0])
    for start in range(0, samples, step):
        count = min(step, samples - start)
        grain = torch.stack(
            [torch.randn(3, input_px, input_px, generator=rng) for _ in range(count)]
        ).to(image.device)
        noisy = image + spread * F.interpolate(grain, size=(side, side), mode="nearest")
        total += _gradient(classifier, noisy, column.expand(count)).sum(dim=0)
    return total / samples
