"""Which weights there are and where they lie. Pure Python: no network is built here."""

import hashlib
from pathlib import Path
from typing import Final

from models.errors import WeightsUnavailable

WEIGHTS_ROOT: Final = Path(__file__).parent / "weights"
CARD_FILE: Final = "card.json"
WEIGHTS_FILE: Final = "weights.safetensors"

DEFAULT_DETECTOR: Final = "leukocyte-detector-3"

DEFAULT_CLASSIFIER: Final = "efficientnet-lite0-224"
"""Weights served unless told otherwise."""

DEFAULT_WEIGHTS: Final = "default"
"""On a command line: whatever this version serves."""


def locate_weights(name: str, *, root: Path = WEIGHTS_ROOT) -> Path:
    """Directory of the weights called `name`, or `name` itself if it is such a directory.

    Raises:
        WeightsUnavailable: neither exists; the message lists what does.
    """
    for candidate in (root / name, Path(name)):
        if (candidate / CARD_FILE).is_file():
            return candidate
    known = sorted(path.parent.name for path in root.glob(f"*/{CARD_FILE}"))
    raise WeightsUnavailable(f"no weights called {name!r}; available: {', '.join(known) or 'none'}")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
