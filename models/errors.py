"""What can go wrong with a model.

ModelError
├── WeightsUnavailable   no such weights, or a file of theirs is missing
├── WeightsCorrupt       the file is truncated, tampered with or does not fit its card
└── PatchShapeError      the input array does not match the card
"""


class ModelError(Exception):
    """Root of every error `models` raises on purpose."""


class WeightsUnavailable(ModelError):
    """There are no such weights here."""


class WeightsCorrupt(ModelError):
    """A weights file is not what its card says."""


class PatchShapeError(ModelError):
    """An input array does not have the shape or type the card asks for."""
