"""A classifier with one question: is there a leukocyte at the centre of this crop?

The stem and the first blocks of EfficientNet-lite0, down to 1/16 of the input, then the mean over
the crop and one linear unit. What follows these blocks in the whole network holds four fifths of
its parameters.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from models.nets.efficientnet_lite import Trunk, build_blocks

BLOCKS: Final = 11
DROPOUT: Final = 0.2


class VerifierNet(Trunk):
    """Crops, as `models.verifier.render` gives them, to logits.

    Parameters bear the names of `EfficientNetLite`, whose weights it may begin with.
    """

    def __init__(self) -> None:
        blocks = build_blocks()[:BLOCKS]
        super().__init__(blocks)
        self._fc = nn.Linear(blocks[-1].channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, 3, H, W) to (N,): the logit of "a leukocyte is at the centre"."""
        x = self.features(x).mean((2, 3))
        logits: Tensor = self._fc(F.dropout(x, DROPOUT, self.training))
        return logits[:, 0]
