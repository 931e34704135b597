"""What can go wrong with a model.

ModelError
├── WeightsUnavailable   no such weights, or a file of theirs is missing
├── WeightsCorrupt       the file is truncated, tampered with or does not fit its card
│   └── GoldenMismatch   the network does not give the outputs recorded beside its weights
├── PatchShapeError      the input array does not match the card
└── SaliencyError        there is no such gradient: an unsupported class, a bad setting
"""


class ModelError(Exception):
    """Root of every error `models` raises on purpose."""


class WeightsUnavailable(ModelError):
    """There are no such weights here."""


class WeightsCorrupt(ModelError):
    """A weights file is not what its card says."""


class GoldenMismatch(WeightsCorrupt):
    """The network computes other probabilities than those recorded at its export."""


class PatchShapeError(ModelError):
    """An input array does not have the shape or type the card asks for."""


class SaliencyError(ModelError):
    """A target class or a setting of a saliency map cannot be used."""
