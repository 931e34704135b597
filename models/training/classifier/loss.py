"""The loss of a batch over the classes that have training cells."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.training.classifier.recipe import Loss


class ClassLoss(nn.Module):
    """Cross-entropy in one of three forms (`models.training.classifier.recipe.Loss`).

    Classes without a single training cell are masked out of the softmax, here as in serving.

    Args:
        how: kind and its constants.
        counts: training cells per class, in taxonomy order; 0 is unsupported.
        shares: expected share of each class among the draws, shape (15,).
        believing: share of the target that is what is believed of a cell, not its label
            (`models.training.classifier.recipe.Teaching`).
    """

    def __init__(
        self, how: Loss, *, counts: Sequence[int], shares: Tensor, believing: float = 0.0
    ) -> None:
        super().__init__()
        self.smoothing, self.believing = how.label_smoothing, believing
        size = torch.tensor(counts, dtype=torch.float64)
        supported = size > 0
        offset = torch.zeros(len(size), dtype=torch.float64)
        weight = torch.ones(len(size), dtype=torch.float64)
        if how.kind == "logit_adjusted":
            offset[supported] = how.tau * torch.log(shares[supported])
        elif how.kind == "class_balanced":
            effective = (1.0 - how.beta ** size[supported]) / (1.0 - how.beta)
            weight[supported] = 1.0 / effective
            weight /= weight[supported].mean()
        self.supported: Tensor
        self.offset: Tensor
        self.weight: Tensor
        self.register_buffer("supported", supported, persistent=False)
        self.register_buffer("offset", offset.float(), persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, beliefs: Tensor | None = None) -> Tensor:
        """Mean loss of a batch.

        Args:
            logits: shape (N, 15).
            labels: shape (N,), int64, columns of supported classes.
            beliefs: probabilities, shape (N, 15), 0 for unsupported classes; needed if `believing`.
        """
        adjusted = (logits + self.offset).masked_fill(~self.supported, -torch.inf)
        log_p = F.log_softmax(adjusted, dim=1)
        hit = log_p.gather(1, labels[:, None]).squeeze(1)
        spread = log_p[:, self.supported].mean(dim=1)
        each = (1.0 - self.smoothing) * hit + self.smoothing * spread
        if self.believing:
            assert beliefs is not None
            agreed = (beliefs * log_p.masked_fill(~self.supported, 0.0)).sum(dim=1)
            each = (1.0 - self.believing) * each + self.believing * agreed
        return -(self.weight[labels] * each).mean()
